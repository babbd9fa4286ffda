"""Turns ended spans into events, one per call: read candidates, deduplicate them, build events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.attribution.span_start_context import SpanStartContext
from infraprism.deduplication.candidate import Candidate
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.processor import conversion
from infraprism.processor.background_responses import BackgroundResponses
from infraprism.schema import Event, stream_usage_warning
from infraprism.schema.call_context import SUPPRESSED
from infraprism.schema.delivery_stats import DeliveryStats

EndedSpan = tuple[ReadableSpan, SpanStartContext | None, bool]
"""A finished span, its start context, and whether it has child spans that have not ended."""


def _end_ns(ended: EndedSpan) -> int:
    end_ns = getattr(ended[0], "end_time", None)
    return end_ns if type(end_ns) is int else 0


class SpanPipeline:
    """Pure state machine: pass the monotonic time in seconds. Not thread-safe. Never raises.

    An internal error is counted in `delivery_stats`, and its call as dropped with the reason `unreadable`.
    """

    def __init__(self, delivery_stats: DeliveryStats) -> None:
        self._delivery_stats: Final = delivery_stats
        self._deduplicator: Final = Deduplicator()
        self._background: Final = BackgroundResponses()
        self._last_s = 0.0
        self._read_back: list[Event] = []

    @property
    def next_due_s(self) -> float | None:
        """When the next held event is due, None if none is held."""
        deduplicator_s, background_s = self._deduplicator.next_due_s, self._background.next_due_s
        if deduplicator_s is None or background_s is None:
            return background_s if deduplicator_s is None else deduplicator_s
        return min(deduplicator_s, background_s)

    def add(self, spans: Iterable[EndedSpan], now_s: float) -> list[Event]:
        """Add ended spans, and return the events that are due."""
        for ended in sorted(spans, key=_end_ns):
            try:
                self._add(ended, now_s)
            except Exception:  # noqa: BLE001 - no error of ours may reach the application
                self._drop_unreadable()
        return self.due(now_s)

    def _add(self, ended: EndedSpan, now_s: float) -> None:
        span, start_context, has_open_children = ended
        found = conversion.candidate_from_span(span, start_context)
        if isinstance(found, Candidate):
            self._last_s = now_s
            for each in self._background.add(found, conversion.attributes_of(span), now_s):
                self._deduplicator.add(each, now_s, has_open_children=has_open_children and each is found)
        elif found is not None:
            self._read_back.append(found)
        elif self._deduplicator.sees_other_scopes and start_context is not SUPPRESSED and span.parent is not None:
            self._deduplicator.link(span.context.trace_id, span.context.span_id, span.parent.span_id)

    def due(self, now_s: float) -> list[Event]:
        """Return the events that are due."""
        self._release(self._background.due(now_s), now_s)
        return self._events(self._deduplicator.due(now_s))

    def flush(self, *, process_ends: bool = False) -> list[Event]:
        """Return all events, except those of streams for which a later span reports the end.

        Responses made in the background without a result are held, unless `process_ends`.
        """
        if process_ends:
            self._release(self._background.close(), self._last_s)
        return self._events(self._deduplicator.flush())

    def close(self) -> list[Event]:
        """Return all events."""
        self._release(self._background.close(), self._last_s)
        return self._events(self._deduplicator.close())

    def _release(self, created: list[Candidate], now_s: float) -> None:
        for found in created:
            self._deduplicator.add(found, now_s)

    def _events(self, calls: list[Candidate]) -> list[Event]:
        events, self._read_back = self._read_back, []
        for call in calls:
            try:
                event = conversion.event_from_candidate(call)
                events.append(event)
                if event.cost_status == "no_usage":
                    _warn_of_stream(event, call.scope)
            except Exception:  # noqa: BLE001 - no error of ours may reach the application
                self._drop_unreadable()
        return events

    def _drop_unreadable(self) -> None:
        self._delivery_stats.error("processor.convert")
        self._delivery_stats.accept()
        self._delivery_stats.end("dropped", "unreadable")


_REPORT_ALWAYS: Final = frozenset(("anthropic", "aws_bedrock", "cohere", "google_gemini", "google_vertex"))
"""Providers with APIs that report the usage of each stream."""


def _warn_of_stream(event: Event, scope: str) -> None:
    """Warn of a stream without usage. Our own instrumentation does so itself, since it knows the request."""
    if event.streamed and event.success and event.provider not in _REPORT_ALWAYS and not scope.startswith(_OURS):
        stream_usage_warning.warn()


_OURS: Final = "infraprism"
