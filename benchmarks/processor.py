"""What the processor costs, beside an empty SpanProcessor: per foreign span, per LLM span, and per conversion.

    python benchmarks/processor.py

Prints medians (and minima) of several rounds in microseconds; the variants take turns within one run, so that a busy
machine disturbs them alike.
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
    """Takes events and forgets them."""

    def __init__(self) -> None:
        self.delivery_stats = DeliveryStats()

    def export_events(self, events: Sequence[Event]) -> None:
        self.delivery_stats.accept(len(events))
        self.delivery_stats.end("delivered", count=len(events))

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Nothing to end."""


class Discard(SpanExporter):
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
    kept: list[ReadableSpan] = []

    class Keep(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            kept.append(span)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Keep())
    span = provider.get_tracer("benchmark").start_span("chat")
    span.set_attributes(attributes)
    span.end()
    return repeated(lambda: to_event(kept[0]))


def hooks(processor: SpanProcessor, attributes: dict[str, str | int]) -> Callable[[], float]:
    """on_start and on_end alone: what the application's thread pays."""
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
        processor.force_flush()  # what the worker does with it is not to slow what is timed next
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
        "foreign span, hooks alone: empty processor": hooks(SpanProcessor(), FOREIGN),
        "foreign span, hooks alone: ours": hooks(InfraPrismSpanProcessor(DroppingSink()), FOREIGN),
        "foreign span, hooks alone: ours, beside other instrumentations": hooks(beside_others(), FOREIGN),
        "LLM span, hooks alone: empty processor": hooks(SpanProcessor(), LLM),
        "LLM span, hooks alone: ours": hooks(InfraPrismSpanProcessor(DroppingSink()), LLM),
        "LLM span, whole: no processor": spans(None, LLM),
        "LLM span, whole: empty processor": spans(SpanProcessor(), LLM),
        "LLM span, whole: SDK's batch processor, exporter that discards": spans(BatchSpanProcessor(Discard()), LLM),
        "LLM span, whole: ours, flushed": spans(InfraPrismSpanProcessor(DroppingSink()), LLM),
        "to_event, LLM span": conversion(LLM),
        "to_event, foreign span": conversion(FOREIGN),
        "Event alone": repeated(event._replace),
        "wire.attributes": repeated(lambda: wire.attributes(event)),
        "attribution, enter and leave": repeated(_attributed),
    }
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            figures[name].append(run())
    print("us per span, median (min)")
    for name, found in figures.items():
        print(f"{name:64} {statistics.median(found):7.2f} ({min(found):.2f})")


def beside_others() -> InfraPrismSpanProcessor:
    """A processor that has seen another instrumentation's call, inside a span that is still open."""
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
