"""Find the InfraPrism processor or exporter of a tracer provider, and share one without owning it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from infraprism.attribution.span_start_context import AttributionRecorder
from infraprism.processor import DeliveryStats, InfraPrismSpanProcessor
from infraprism.processor.event_exporter import EventExporter, takes_events
from infraprism.schema import Event

MAX_PROCESSORS_SEARCHED: Final = 64
"""Span processors inspected per provider, nested ones included."""


class Installed(NamedTuple):
    """The InfraPrism part of a tracer provider: a processor, or an exporter in a batch processor.

    `is_nested`: another processor contains it, which may not pass it every span, as Logfire's does not.
    """

    processor: InfraPrismSpanProcessor | None
    exporter: EventExporter | None
    is_nested: bool = False


def find_installed(provider: object) -> Installed | None:
    """The InfraPrism part of this provider, or None."""
    outermost = processors_of(provider)
    queue = list(outermost)
    for number, processor in enumerate(queue):  # nested processors are appended
        is_nested = number >= len(outermost)
        if isinstance(processor, InfraPrismSpanProcessor):
            return Installed(processor, None, is_nested)
        if isinstance(processor, SharedProcessor):
            return Installed(processor.processor, None, is_nested)
        exporter = getattr(processor, "span_exporter", None)
        if takes_events(exporter):
            return Installed(None, exporter, is_nested)
        if len(queue) < MAX_PROCESSORS_SEARCHED:
            queue += _nested_processors(processor)
    return None


def _nested_processors(processor: object) -> list[SpanProcessor]:
    """The processors in the attributes of a processor: of the SDK's multi-processor, or of a wrapper."""
    try:
        values = list(vars(processor).values())
    except TypeError:  # it has slots
        return []
    several = getattr(processor, "_span_processors", None)
    return [each for each in [*values, *(several or ())] if isinstance(each, SpanProcessor) and each is not processor]


def add_attribution_recorder(provider: Any, installed: Installed) -> None:
    """Record the attribution at span start, for an InfraPrism exporter, which receives spans only when they end."""
    if installed.exporter is None or any(isinstance(p, AttributionRecorder) for p in processors_of(provider)):
        return
    provider.add_span_processor(AttributionRecorder())


def processors_of(provider: object) -> tuple[object, ...]:
    """The span processors of an SDK provider. A new tuple whenever one was added."""
    active = getattr(sdk_provider_of(provider), "_active_span_processor", None)
    processors = getattr(active, "_span_processors", ())
    return processors if isinstance(processors, tuple) else ()


def sdk_provider_of(provider: Any) -> Any:
    """The SDK provider that a wrapper such as Logfire's contains; else the provider itself."""
    if isinstance(provider, TracerProvider):
        return provider
    wrapped = getattr(provider, "provider", None)
    return wrapped if isinstance(wrapped, TracerProvider) else provider


class SharedExporter:
    """An exporter owned by the application: `shutdown` only flushes it.

    If the exporter deduplicates spans itself, it is given spans instead of events: the application's provider passes it
    spans of the same calls if another instrumentation is active.
    """

    def __init__(self, exporter: EventExporter) -> None:
        self._exporter = exporter
        self.shared_span_receiver = getattr(exporter, "receive_ended_spans", None)

    @property
    def delivery_stats(self) -> DeliveryStats:
        """Counters of events by outcome."""
        return self._exporter.delivery_stats

    def export_events(self, events: Sequence[Event]) -> None:
        """Pass events to the exporter."""
        self._exporter.export_events(events)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until all events are sent."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Flush only; the owner shuts the exporter down."""
        self._exporter.force_flush(timeout_millis)


class SharedProcessor(SpanProcessor):
    """Passes spans to a processor with another owner: `shutdown` only flushes it."""

    def __init__(self, processor: InfraPrismSpanProcessor) -> None:
        self.on_start = processor.on_start  # type: ignore[method-assign]  # bound once: it runs for every span
        self.on_end = processor.on_end  # type: ignore[method-assign]  # see above
        self.processor = processor

    def shutdown(self) -> None:
        """Flush only; the owner shuts the processor down."""
        self.processor.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until all events are sent."""
        return self.processor.force_flush(timeout_millis)
