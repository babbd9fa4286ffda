"""Which of an account's cleaned spans are the same call: the processor's settling, over the requests of a while.

A span that is sent again changes nothing, so that a sender who got no answer may send it in another company of spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.processor import conversion
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

MAX_SEEN: Final = 32_768
"""Spans of an account that are known again when they are sent again."""
MAX_CALLS: Final = 16_384
"""Calls of an account that are remembered: as many as large requests hold, since spans of one call may lie apart."""


class Call(NamedTuple):
    """An event, and what each span of its call said."""

    event: Event
    spans: Sequence[Candidate]


class Due(NamedTuple):
    """The calls that are due, and when the next one will be, by the clock of the caller; None where none is held."""

    calls: list[Call]
    next_s: float | None


class Calls:
    """One account's calls. Used from one thread at a time; times are in seconds, by a clock that does not go back.

    `known` are the spans of calls that were given back before, as by a process that ended since.
    """

    def __init__(self, delivery_stats: DeliveryStats, known: Sequence[Sequence[Candidate]] = ()) -> None:
        self._delivery_stats: Final = delivery_stats
        self._released: list[Sequence[Candidate]] = []
        self._deduplicator: Final = Deduplicator(max_calls=MAX_CALLS, on_release=self._released.append)
        self._deduplicator.recall(known)
        keys = [(found.trace_id, found.span_id) for spans in known for found in spans]
        self._seen: dict[tuple[int, int], None] = dict.fromkeys(keys[-MAX_SEEN:])

    def take(self, spans: Iterable[ReadableSpan], now_s: float) -> int:
        """Take spans in, in the order in which they ended; how many could not be read."""
        unreadable = 0
        for span in sorted(spans, key=lambda span: span.end_time or 0):
            context = span.context
            if context is None or (key := (context.trace_id, context.span_id)) in self._seen:
                continue
            if len(self._seen) >= MAX_SEEN:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = None
            try:
                self._take(span, now_s)
            except Exception:  # noqa: BLE001  # a span that the engine fails on must not hold up the others of its request
                self._delivery_stats.error("dialects.candidate")
                unreadable += 1
        return unreadable

    def _take(self, span: ReadableSpan, now_s: float) -> None:
        found = conversion.candidate_from_span(span)
        if isinstance(found, Candidate):
            self._deduplicator.add(found, now_s)
            return
        self._delivery_stats.accept()
        self._delivery_stats.end("dropped", "no_call")
        if span.parent is not None:
            self._deduplicator.link(span.parent.trace_id, span.context.span_id, span.parent.span_id)

    def due(self, now_s: float) -> Due:
        """The calls that are due."""
        return self._priced(self._deduplicator.settled(now_s))

    def close(self) -> Due:
        """All calls."""
        return self._priced(self._deduplicator.close())

    def _priced(self, settled: list[Candidate]) -> Due:
        calls = []
        for found, spans in zip(settled, self._released, strict=True):
            try:
                calls.append(Call(conversion.event_from_candidate(found), spans))
            except Exception:  # noqa: BLE001  # as above
                self._delivery_stats.error("dialects.event")
        self._released.clear()
        return Due(calls, self._deduplicator.next_due_s)
