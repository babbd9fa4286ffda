"""Measures the CPU time of the span processor per span, next to an empty SpanProcessor, and of conversions.

    python benchmarks/processor.py

Prints medians and minima of several rounds in microseconds. The variants alternate within one run, so that load on
the machine affects all of them. A foreign span is one without GenAI attributes.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from infraprism.attribution.scope import attribution
from infraprism.processor import DeliveryStats, InfraPrismSpanProcessor, to_event
from infraprism.processor.worker import MAX_QUEUE
from infraprism.schema import Event, wire

ROUNDS = 15
SPANS = 2000
LLM = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.reasoning.output_tokens": 16,
    "openai.response.service_tier": "default",
}
FOREIGN = {"http.request.method": "GET", "url.full": "http://localhost/", "http.response.status_code": 200, "a": 1}


class DroppingSink:
    """Accepts events and drops them."""

    def __init__(self) -> None:
        self.delivery_stats = DeliveryStats()

    def export_events(self, events: Sequence[Event]) -> None:
        self.delivery_stats.accept(len(events))
        self.delivery_stats.end("delivered", count=len(events))

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Do nothing."""


class DiscardingExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the protocol's
        return SpanExportResult.SUCCESS


def spans(processor: SpanProcessor | None, attributes: dict[str, str | int]) -> Callable[[], float]:
    provider = TracerProvider(shutdown_on_exit=False)
    if processor is not None:
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("benchmark")

    def run() -> float:
        gc.collect()
        began = time.perf_counter()
        for number in range(SPANS):
            span = tracer.start_span("chat gpt-4o-mini", kind=SpanKind.CLIENT)
            span.set_attributes({**attributes, "gen_ai.response.id": f"chatcmpl-{number}"})
            span.end()
        provider.force_flush()
        return (time.perf_counter() - began) / SPANS * 1e6

    return run


def conversion(attributes: dict[str, str | int]) -> Callable[[], float]:
    ended: list[ReadableSpan] = []

    class KeepsEndedSpans(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(KeepsEndedSpans())
    span = provider.get_tracer("benchmark").start_span("chat")
    span.set_attributes(attributes)
    span.end()
    return repeated(lambda: to_event(ended[0]))


def hooks(processor: SpanProcessor, attributes: dict[str, str | int]) -> Callable[[], float]:
    """The time of `on_start` and `on_end` on the application's thread."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark").start_span("GET")
    span.set_attributes(attributes)
    span.end()
    ended = span._readable_span()  # type: ignore[attr-defined]  # noqa: SLF001

    def once() -> None:
        processor.on_start(span, parent_context=None)
        processor.on_end(ended)

    timed = repeated(once)

    def run() -> float:
        took = timed()
        processor.force_flush()  # so that the worker is idle during the next measurement
        return took

    return run


def repeated(once: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        gc.collect()
        began = time.thread_time()
        for _ in range(SPANS):
            once()
        return (time.thread_time() - began) / SPANS * 1e6

    return run


def main() -> None:
    assert SPANS < MAX_QUEUE
    event = to_event_of(LLM)
    variants = {
        "foreign span, hooks: empty processor": hooks(SpanProcessor(), FOREIGN),
        "foreign span, hooks: ours": hooks(InfraPrismSpanProcessor(DroppingSink()), FOREIGN),
        "foreign span, hooks: ours, with another instrumentation": hooks(with_another_instrumentation(), FOREIGN),
        "LLM span, hooks: empty processor": hooks(SpanProcessor(), LLM),
        "LLM span, hooks: ours": hooks(InfraPrismSpanProcessor(DroppingSink()), LLM),
        "LLM span, total: no processor": spans(None, LLM),
        "LLM span, total: empty processor": spans(SpanProcessor(), LLM),
        "LLM span, total: SDK's batch processor, exporter that discards": spans(
            BatchSpanProcessor(DiscardingExporter()), LLM
        ),
        "LLM span, total: ours, flushed": spans(InfraPrismSpanProcessor(DroppingSink()), LLM),
        "to_event, LLM span": conversion(LLM),
        "to_event, foreign span": conversion(FOREIGN),
        "Event, copied with changes": repeated(event._replace),
        "wire.attributes": repeated(lambda: wire.attributes(event)),
        "attribution, enter and exit": repeated(_attributed),
    }
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            figures[name].append(run())
    print("us per span, median (min)")
    for name, found in figures.items():
        print(f"{name:64} {statistics.median(found):7.2f} ({min(found):.2f})")


def with_another_instrumentation() -> InfraPrismSpanProcessor:
    """A processor that received a call of another instrumentation, with an open parent span."""
    processor = InfraPrismSpanProcessor(DroppingSink())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("another")
    request = tracer.start_span("GET")
    tracer.start_span("chat", context=trace.set_span_in_context(request), attributes=LLM).end()
    return processor


def to_event_of(attributes: dict[str, str | int]) -> Event:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark").start_span("chat")
    span.set_attributes(attributes)
    span.end()
    event = to_event(span)  # type: ignore[arg-type]
    assert event is not None
    return event


def _attributed() -> None:
    with attribution(customer="acme-corp", session_id="s-1"):
        pass


if __name__ == "__main__":
    main()
