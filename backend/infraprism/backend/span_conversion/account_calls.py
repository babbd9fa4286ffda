"""Deduplicates the cleaned spans of one account, over the requests of a period, with the processor's deduplicator.

A resent span changes nothing, also if the sender batches it differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan
from infraprism.backend.span_conversion.stored_events import StoredEvents
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.processor import conversion
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

MAX_SEEN: Final = 32_768
"""Span ids per account by which resent spans are recognised."""
MAX_CALLS: Final = 16_384
"""Calls per account in memory: as many as a large request has, since the spans of one call may be far apart in it."""


class DeduplicatedCall(NamedTuple):
    """The event of a call, and the candidates of all its spans."""

    event: Event
    candidates: Sequence[Candidate]


class DueCalls(NamedTuple):
    """The calls that are due, and when the next call is due, in the caller's seconds; None if no call is held."""

    calls: list[DeduplicatedCall]
    next_due_s: float | None


class AccountCalls:
    """The calls of one account. Not thread-safe. Times are seconds of a monotonic clock that the caller reads.

    `released`: the candidates of calls that were released before, for example by an earlier process. `events`: the
    events that the store has, by id, with those of these calls.
    """

    def __init__(
        self,
        delivery_stats: DeliveryStats,
        released: Sequence[Sequence[Candidate]] = (),
        events: dict[str, Candidate] | None = None,
    ) -> None:
        self._delivery_stats: Final = delivery_stats
        self._released: list[Sequence[Candidate]] = []
        self._deduplicator: Final = Deduplicator(max_calls=MAX_CALLS, on_release=self._released.append)
        self._deduplicator.restore(released)
        keys = [(candidate.trace_id, candidate.span_id) for candidates in released for candidate in candidates]
        self._seen: dict[tuple[int, int], None] = dict.fromkeys(keys[-MAX_SEEN:])
        self._admitted: dict[tuple[int, int], bool] = {}
        # Above the bound some calls of cleaned spans are forgotten, and their events would be taken for ours.
        self._stored_events: Final = StoredEvents(events if len(released) < MAX_CALLS else None, released)

    def add(self, spans: Iterable[CleanedSpan], now_s: float) -> int:
        """Add spans in the order of their end times. Returns the number of spans that could not be read."""
        unreadable = 0
        spans = sorted(spans, key=_end_time)
        for event in self._stored_events.take(spans, now_s):
            self._deduplicator.add_event(event)
        for span in spans:
            key = (span.context.trace_id, span.context.span_id)
            if key in self._seen:
                continue
            if len(self._seen) >= MAX_SEEN:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = None
            try:
                self._add(span, now_s)
            except Exception:  # noqa: BLE001  # an unreadable span must not fail the other spans of its request
                self._delivery_stats.error("dialects.candidate")
                unreadable += 1
        return unreadable

    def _add(self, span: CleanedSpan, now_s: float) -> None:
        # `candidate_from_span` accepts any object with the attributes of a ReadableSpan.
        found = conversion.candidate_from_span(cast(ReadableSpan, span))
        if isinstance(found, Candidate):
            self._deduplicator.add(found, now_s)
            return
        self._delivery_stats.accept()
        self._delivery_stats.end("dropped", "no_call")
        if span.parent is not None:
            self._deduplicator.link(span.parent.trace_id, span.context.span_id, span.parent.span_id)

    def add_events(self, events: Iterable[Candidate], *, stored: bool = False) -> set[tuple[int, int]]:
        """Add the calls of events. Returns the ids of the spans whose event must not be stored.

        Those are events of calls that are stored already as events of cleaned spans. `stored`: the events are stored
        as well, so none is returned. An event that is sent again has the same result.
        """
        excluded = set()
        for found in events:
            key = (found.trace_id, found.span_id)
            admitted = self._admitted.get(key)
            if admitted is None:
                admitted = self._stored_events.is_known(found) or self._deduplicator.add_event(found) or stored
                if len(self._admitted) >= MAX_SEEN:
                    del self._admitted[next(iter(self._admitted))]
                self._admitted[key] = admitted
            if not admitted:
                excluded.add(key)
        return excluded

    def due(self, now_s: float) -> DueCalls:
        """The calls that are due."""
        return self._priced(self._deduplicator.due(now_s))

    def close(self) -> DueCalls:
        """All calls that are held."""
        return self._priced(self._deduplicator.close())

    def _priced(self, calls: list[Candidate]) -> DueCalls:
        priced = []
        for call, candidates in zip(calls, self._released, strict=True):
            try:
                priced.append(DeduplicatedCall(conversion.event_from_candidate(call), candidates))
            except Exception:  # noqa: BLE001  # as above
                self._delivery_stats.error("dialects.event")
        self._released.clear()
        return DueCalls(priced, self._deduplicator.next_due_s)


def _end_time(span: CleanedSpan) -> int:
    return span.end_time
