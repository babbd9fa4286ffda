"""Finished spans of the SDK, and a span processor and exporters of both kinds that keep what they receive."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from infraprism.processor import DeliveryStats
from infraprism.schema import Event

START_NS = 1_790_000_000_000_000_000
CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
}
"""Attributes of a chat call, by the GenAI semantic conventions."""


class KeepsEndedSpans(SpanProcessor):
    """A span processor that keeps the spans that have ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class KeepsEvents:
    """An exporter that takes events and keeps them. `flushes` is the result of `force_flush`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.delivery_stats = DeliveryStats()
        self.flushes = True
        self.shut_down = 0

    def export_events(self, events: Sequence[Event]) -> None:
        self.delivery_stats.accept(len(events))
        self.events.extend(events)
        self.delivery_stats.end("delivered", count=len(events))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.flushes

    def shutdown(self, timeout_millis: int = 5000) -> None:
        self.shut_down += 1


class KeepsSpans(SpanExporter):
    """An exporter that takes spans and keeps them, unless `behaviour` replaces `export`: it may fail or block."""

    def __init__(self, behaviour: Any = None) -> None:
        self.spans: list[ReadableSpan] = []
        self.behaviour = behaviour
        self.threads: set[int] = set()
        self.shut_down = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.threads.add(threading.get_ident())
        if self.behaviour is not None:
            return self.behaviour()
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.shut_down += 1


def provider_with(
    *processors: SpanProcessor, resource: Mapping[str, Any] | None = None, **options: Any
) -> TracerProvider:
    """A tracer provider that is not the global one."""
    provider = TracerProvider(shutdown_on_exit=False, resource=Resource(resource or {}), **options)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def ended(
    attributes: Mapping[str, Any] | None = None,
    *,
    name: str = "chat",
    status: Status | None = None,
    events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    resource: Mapping[str, Any] | None = None,
    duration_ms: float = 1200,
) -> ReadableSpan:
    """A finished span, as the SDK passes it to processors and exporters."""
    kept = KeepsEndedSpans()
    span = provider_with(kept, resource=resource).get_tracer("test").start_span(name, start_time=START_NS)
    for key, value in (attributes or {}).items():
        span.set_attribute(key, value)
    for event, values in events:
        span.add_event(event, dict(values))
    if status is not None:
        span.set_status(status)
    span.end(end_time=START_NS + int(duration_ms * 1_000_000))
    return kept.spans[0]


def call(provider: TracerProvider, attributes: dict[str, Any] | None = None) -> None:
    """Start and end the span of one LLM call."""
    span = provider.get_tracer("test").start_span("chat")
    span.set_attributes({**CALL, **(attributes or {})})
    span.end()
