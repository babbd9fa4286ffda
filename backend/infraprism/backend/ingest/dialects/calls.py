"""Which of an account's cleaned spans are the same call: the processor's settling, over the requests of a while.

A span that is sent again changes nothing, so that a sender who got no answer may send it in another company of spans.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.processor import convert
from infraprism.processor.settling.candidate import Candidate
from infraprism.processor.settling.settler import Settler
from infraprism.processor.tally import Tally
from infraprism.schema import Event

MAX_SEEN: Final = 32_768
"""Spans of an account that are known again when they are sent again."""


class Due(NamedTuple):
    """The events that are due, and when the next one will be, by the clock of the caller; None where none is held."""

    events: list[Event]
    next_s: float | None


class Calls:
    """One account's calls. Used from one thread at a time; times are in seconds, by a clock that does not go back."""

    def __init__(self, tally: Tally) -> None:
        self._tally: Final = tally
        self._settler: Final = Settler()
        self._seen: dict[tuple[int, int], None] = {}

    def take(self, spans: Iterable[ReadableSpan], now_s: float) -> int:
        """Take spans in; how many could not be read."""
        unreadable = 0
        for span in spans:
            context = span.context
            if context is None or (key := (context.trace_id, context.span_id)) in self._seen:
                continue
            if len(self._seen) >= MAX_SEEN:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = None
            try:
                self._take(span, now_s)
            except Exception:  # noqa: BLE001  # a span that the engine fails on must not hold up the others of its request
                self._tally.error("dialects.candidate")
                unreadable += 1
        return unreadable

    def _take(self, span: ReadableSpan, now_s: float) -> None:
        found = convert.candidate(span)
        if isinstance(found, Candidate):
            self._settler.add(found, now_s)
            return
        self._tally.accept()
        self._tally.end("dropped", "no_call")
        if span.parent is not None:
            self._settler.link(span.parent.trace_id, span.context.span_id, span.parent.span_id)

    def due(self, now_s: float) -> Due:
        """The events that are due."""
        return self._priced(self._settler.settled(now_s))

    def close(self) -> Due:
        """All events."""
        return self._priced(self._settler.close())

    def _priced(self, calls: list[Candidate]) -> Due:
        events = []
        for call in calls:
            try:
                events.append(convert.event(call))
            except Exception:  # noqa: BLE001  # as above
                self._tally.error("dialects.event")
        return Due(events, self._settler.next_due_s)
