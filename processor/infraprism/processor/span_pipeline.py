"""Spans in, each call's one event out: what the processor, and an exporter that stands alone, do with a span."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.attribution.span_start_context import SpanStartContext
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.processor import conversion
from infraprism.schema import Event
from infraprism.schema.call_context import SUPPRESSED
from infraprism.schema.delivery_stats import DeliveryStats

Ended = tuple[ReadableSpan, SpanStartContext | None, bool]
"""A span that has ended, what was noted when it started, and whether spans inside it have not ended yet."""


def _end_ns(ended: Ended) -> int:
    end_ns = getattr(ended[0], "end_time", None)
    return end_ns if type(end_ns) is int else 0


class Intake:
    """Converts spans, settles which of them are one call, and gives back the events that are due. Nothing here raises.

    An error of ours is counted in the tally, and the call as dropped, `unreadable`. Used from one thread at a time;
    times are in seconds, by any clock that does not go backwards.
    """

    def __init__(self, delivery_stats: DeliveryStats) -> None:
        self._delivery_stats: Final = delivery_stats
        self._deduplicator: Final = Deduplicator()
        self._found: list[Event] = []

    @property
    def next_due_s(self) -> float | None:
        """When the next event is due; None where nothing is held."""
        return self._deduplicator.next_due_s

    def take(self, spans: Iterable[Ended], now_s: float) -> list[Event]:
        """Take in spans that have ended; the events that are due."""
        for ended in sorted(spans, key=_end_ns):
            try:
                self._take(ended, now_s)
            except Exception:  # noqa: BLE001 - no error of ours may reach the application
                self._lose()
        return self.due(now_s)

    def _take(self, ended: Ended, now_s: float) -> None:
        span, note, has_open_children = ended
        found = conversion.candidate(span, note)
        if isinstance(found, Candidate):
            self._deduplicator.add(found, now_s, has_open_children=has_open_children)
        elif found is not None:
            self._found.append(found)
        elif self._deduplicator.sees_other_scopes and note is not SUPPRESSED and span.parent is not None:
            self._deduplicator.link(span.context.trace_id, span.context.span_id, span.parent.span_id)

    def due(self, now_s: float) -> list[Event]:
        """The events that are due."""
        return self._events(self._deduplicator.due(now_s))

    def flush(self) -> list[Event]:
        """All events, but for streams whose end another span will tell."""
        return self._events(self._deduplicator.flush())

    def close(self) -> list[Event]:
        """All events."""
        return self._events(self._deduplicator.close())

    def _events(self, calls: list[Candidate]) -> list[Event]:
        events, self._found = self._found, []
        for call in calls:
            try:
                events.append(conversion.event(call))
            except Exception:  # noqa: BLE001 - no error of ours may reach the application
                self._lose()
        return events

    def _lose(self) -> None:
        self._delivery_stats.error("processor.convert")
        self._delivery_stats.accept()
        self._delivery_stats.end("dropped", "unreadable")
