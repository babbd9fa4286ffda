"""What is known about a span only while it starts, kept until it is turned into an event.

An `InfraPrismSpanProcessor` keeps its own notes. An exporter of ours that sits alone in somebody's batch processor
(`OTEL_TRACES_EXPORTER=infraprism`) sees a span only when it is over: there, add an `AttributionRecorder` to the same
provider, and give `to_event` what it noted:

    provider.add_span_processor(AttributionRecorder())          # once per provider, when the exporter is found in it
    event = to_event(span, notes.shared.of(span))               # in the exporter; None where nothing was noted

Nothing is ever written to a span.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.scope import Attribution
from infraprism.schema.call_context import SUPPRESSED, Suppressed, call_in_progress
from infraprism.schema.delivery_stats import DeliveryStats

SpanStartContext = Attribution | Suppressed
MAX_NOTES: Final = 8192
"""Spans that are remembered at a time. Only spans with an attribution, or inside a measured call, need a note."""

_is_inside: Final = call_in_progress.get
_frame: Final = attribution_scope.current.get


def here() -> SpanStartContext | None:
    """What holds in this context. Inside a call nothing else matters: such a span never becomes an event."""
    if _is_inside():
        return SUPPRESSED
    frame = _frame()
    return None if frame is None else frame.attribution


class SpanStartContexts:
    """A bounded book of notes by trace and span id; safe in threads and across fork, since it has no lock."""

    __slots__ = ("by_id", "delivery_stats")

    def __init__(self, delivery_stats: DeliveryStats | None = None) -> None:
        self.by_id: dict[tuple[int, int], SpanStartContext] = {}
        self.delivery_stats = delivery_stats or DeliveryStats()

    def __len__(self) -> int:
        return len(self.by_id)

    def start(self, span: ReadableSpan) -> None:
        """Note what holds for a span that starts in this context, if anything does."""
        note = here()
        context = span.context
        if note is None or context is None:
            return
        if len(self.by_id) >= MAX_NOTES:
            self._forget_oldest()
        self.by_id[context.trace_id, context.span_id] = note

    def of(self, span: ReadableSpan) -> SpanStartContext | None:
        """What was noted; it stays, for others who may ask."""
        context = span.context if self.by_id else None
        return None if context is None else self.by_id.get((context.trace_id, context.span_id))

    def take(self, span: ReadableSpan) -> SpanStartContext | None:
        """What was noted; it is forgotten."""
        context = span.context if self.by_id else None
        return None if context is None else self.by_id.pop((context.trace_id, context.span_id), None)

    def _forget_oldest(self) -> None:
        with suppress(RuntimeError, StopIteration):  # another thread was quicker
            self.by_id.pop(next(iter(self.by_id)), None)
        self.delivery_stats.error("span_start_context.forgotten")


def was_never_started(span: ReadableSpan) -> bool:
    """Whether no tracer made the span: the SDK's have attributes of a class of its own."""
    return not hasattr(getattr(span, "_attributes", None), "_dict")


shared: Final = SpanStartContexts()
"""What `AttributionRecorder` noted, for the whole process."""


class AttributionRecorder(SpanProcessor):
    """Notes attributions for an exporter that sees spans only at their end; see the module."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Note what holds in the context that the span starts in."""
        try:
            shared.start(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            shared.delivery_stats.error("recorder.on_start")

    def on_end(self, span: ReadableSpan) -> None:
        """Note it for a span that nobody started, but put together when its call was over, and handed over here."""
        try:
            if was_never_started(span) and shared.of(span) is None:
                shared.start(span)
        except Exception:  # noqa: BLE001 - no error of ours may reach the application
            shared.delivery_stats.error("recorder.on_end")
