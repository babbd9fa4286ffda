"""Records the attribution that is active when a span starts, until the span is converted to an event.

`InfraPrismSpanProcessor` records it itself. If `InfraPrismSpanExporter` is used in another span processor
(`OTEL_TRACES_EXPORTER=infraprism`), it only receives spans that have ended. Add an `AttributionRecorder` to the same
provider then, and the exporter finds the start contexts in `shared`:

    provider.add_span_processor(AttributionRecorder())
    event = to_event(span, shared.get(span))  # as the exporter does

Nothing is ever written to a span.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from infraprism.attribution.scope import Attribution, active_attribution
from infraprism.schema.call_context import SUPPRESSED, Suppressed, call_in_progress
from infraprism.schema.delivery_stats import DeliveryStats

SpanStartContext = Attribution | Suppressed
"""`SUPPRESSED` if the span started during a measured call: it never becomes an event."""
MAX_SPANS: Final = 8192
"""Open spans recorded at a time. Only spans with an attribution, or started during a measured call, are recorded."""

_call_in_progress: Final = call_in_progress.get


def current_start_context() -> SpanStartContext | None:
    """The start context of a span that starts now."""
    if _call_in_progress():
        return SUPPRESSED
    return active_attribution()


class SpanStartContexts:
    """Start contexts by trace and span id, bounded. Safe in threads and across fork, since it has no lock."""

    __slots__ = ("by_id", "delivery_stats")

    def __init__(self, delivery_stats: DeliveryStats | None = None) -> None:
        self.by_id: dict[tuple[int, int], SpanStartContext] = {}
        self.delivery_stats = delivery_stats or DeliveryStats()

    def __len__(self) -> int:
        return len(self.by_id)

    def record(self, span: ReadableSpan) -> None:
        """Record the start context of a span that starts now, if it has one."""
        start_context = current_start_context()
        context = span.context
        if start_context is None or context is None:
            return
        if len(self.by_id) >= MAX_SPANS:
            self._forget_oldest()
        self.by_id[context.trace_id, context.span_id] = start_context

    def get(self, span: ReadableSpan) -> SpanStartContext | None:
        """The start context of a span."""
        context = span.context if self.by_id else None
        return None if context is None else self.by_id.get((context.trace_id, context.span_id))

    def pop(self, span: ReadableSpan) -> SpanStartContext | None:
        """The start context of a span, which is then forgotten."""
        context = span.context if self.by_id else None
        return None if context is None else self.by_id.pop((context.trace_id, context.span_id), None)

    def _forget_oldest(self) -> None:
        with suppress(RuntimeError, StopIteration):  # another thread changed the dict at the same time
            self.by_id.pop(next(iter(self.by_id)), None)
        self.delivery_stats.error("span_start_context.forgotten")


def made_without_tracer(span: ReadableSpan) -> bool:
    """Whether a span was made when its call had ended, and never started: spans of tracers have bounded attributes."""
    return not hasattr(getattr(span, "_attributes", None), "_dict")


shared: Final = SpanStartContexts()
"""The start contexts that `AttributionRecorder` records, for the process."""


class AttributionRecorder(SpanProcessor):
    """Records start contexts for an exporter that only receives spans that have ended; see the module."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Record the start context."""
        try:
            shared.record(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            shared.delivery_stats.error("recorder.on_start")

    def on_end(self, span: ReadableSpan) -> None:
        """Record the current context of a span that was made without a tracer, when its call had ended."""
        try:
            if made_without_tracer(span) and shared.get(span) is None:
                shared.record(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            shared.delivery_stats.error("recorder.on_end")
