"""The span processor: which spans become events, how exporters are called, and that no error reaches the app."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Status, StatusCode
from tests.kit.spans import CALL, KeepsEndedSpans, KeepsEvents, KeepsSpans, call, ended, provider_with

from infraprism.attribution import span_start_context
from infraprism.attribution.scope import attribution
from infraprism.processor import (
    AttributionRecorder,
    DeliveryStats,
    InfraPrismSpanProcessor,
    event_exporter,
    to_event,
    worker,
)
from infraprism.schema import Event, wire
from infraprism.schema.call_context import call_in_progress


def events_of(*during: Any) -> list[Event]:
    """The events of the spans that each function makes with a provider with our processor."""
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    for run in during:
        run(provider)
    assert processor.force_flush(10_000)
    processor.shutdown()
    return exporter.events


def test_calls_become_events_and_other_spans_do_not() -> None:
    def run(provider: TracerProvider) -> None:
        provider.get_tracer("test").start_span("GET", attributes={"http.request.method": "GET"}).end()
        call(provider)
        call(provider, {"gen_ai.operation.name": "invoke_agent"})

    (event,) = events_of(run)
    assert (event.model, event.input_tokens) == ("gpt-4o-mini-2024-07-18", 111)


def test_the_attribution_is_the_one_active_when_the_span_starts() -> None:
    def run(provider: TracerProvider) -> None:
        with attribution(customer="acme", tags={"a": "1"}):
            span = provider.get_tracer("test").start_span("chat", attributes=CALL)
        with attribution(customer="other"):
            span.end()

    (event,) = events_of(run)
    assert (event.entity_type, event.entity_id, event.tags) == ("customer", "acme", (("a", "1"),))


def test_attribution_follows_asyncio_tasks() -> None:
    def run(provider: TracerProvider) -> None:
        async def one(name: str) -> None:
            with attribution(customer=name):
                await asyncio.sleep(0)
                call(provider)

        async def both() -> None:
            await asyncio.gather(one("a"), one("b"))

        asyncio.run(both())

    assert {event.entity_id for event in events_of(run)} == {"a", "b"}


def test_spans_that_start_during_a_measured_call_are_part_of_it() -> None:
    def run(provider: TracerProvider) -> None:
        outer = provider.get_tracer("ours").start_span("chat", attributes={**CALL, "gen_ai.usage.input_tokens": 1})
        token = call_in_progress.set(True)
        with attribution(customer="acme"):
            call(provider)
        call_in_progress.reset(token)
        outer.end()

    assert [event.input_tokens for event in events_of(run)] == [1]


def test_spans_that_are_recorded_but_not_sampled_become_events() -> None:
    class RecordsOnly(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            return SamplingResult(Decision.RECORD_ONLY)

        def get_description(self) -> str:
            return "records only"

    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor, sampler=RecordsOnly()))
    assert processor.force_flush(10_000)
    assert len(exporter.events) == 1
    processor.shutdown()


def test_a_span_exporter_is_given_event_spans_on_another_thread() -> None:
    exporter = KeepsSpans()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor, resource={"service.name": "CANARY"})
    call(provider, {"gen_ai.input.messages": "CANARY"})
    assert processor.force_flush(10_000)
    (span,) = exporter.spans
    event = to_event(span)
    assert event is not None
    assert dict(span.attributes or {}) == wire.attributes(event)
    assert "CANARY" not in span.to_json()
    assert threading.get_ident() not in exporter.threads
    assert processor.delivery_stats.snapshot()["delivered"] == {"ok": 1}
    processor.shutdown()
    assert exporter.shut_down == 1


def test_a_span_exporter_is_given_usage_detail_only_if_it_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("", False), ("true", True)):
        monkeypatch.setenv("INFRAPRISM_USAGE_DETAIL", value)
        exporter = KeepsSpans()
        processor = InfraPrismSpanProcessor(exporter)
        call(provider_with(processor), {"gen_ai.usage.cache_read.input_tokens": 40})
        processor.shutdown()
        assert ("infraprism.usage.cache_read_tokens" in (exporter.spans[0].attributes or {})) is expected


def test_the_spans_of_the_application_are_not_changed() -> None:
    def recorded(*processors: SpanProcessor) -> bytes:
        class Ids(IdGenerator):
            def __init__(self) -> None:
                self.last = 0

            def generate_trace_id(self) -> int:
                return self.generate_span_id()

            def generate_span_id(self) -> int:
                self.last += 1
                return self.last

        kept = KeepsEndedSpans()
        provider = provider_with(*processors, kept, resource={"service.name": "app"}, id_generator=Ids())
        with attribution(customer="acme", tags={"a": "1"}):
            parent = provider.get_tracer("app", "1").start_span("parent", start_time=1)
            span = provider.get_tracer("app", "1").start_span("chat", start_time=2)
            span.set_attributes({**CALL, "gen_ai.input.messages": "prompt", "list": [1, 2], "map": {"a": "b"}})
            span.add_event("exception", {"exception.message": "text"}, timestamp=3)
            span.set_status(Status(StatusCode.ERROR, "text"))
            span.end(end_time=4)
            parent.end(end_time=5)
        provider.force_flush()
        return encode_spans(kept.spans).SerializeToString(deterministic=True)

    ours = InfraPrismSpanProcessor(KeepsEvents())
    assert recorded(ours, AttributionRecorder()) == recorded()
    ours.shutdown()


def test_two_processors_of_one_provider_are_independent() -> None:
    exporters = [KeepsEvents(), KeepsEvents()]
    processors = [InfraPrismSpanProcessor(exporter) for exporter in exporters]
    provider = provider_with(*processors)
    with attribution(customer="acme"):
        call(provider)
    assert provider.force_flush(10_000)
    assert [[event.entity_id for event in exporter.events] for exporter in exporters] == [["acme"], ["acme"]]
    assert set(processors) <= set(InfraPrismSpanProcessor.live())
    processors[0].shutdown()
    assert processors[0] not in InfraPrismSpanProcessor.live()
    call(provider)
    assert processors[1].force_flush(10_000)
    assert [len(exporter.events) for exporter in exporters] == [1, 2]
    processors[1].shutdown()


@pytest.mark.parametrize("fails", ["raises", "returns failure", "returns nothing"])
def test_events_that_a_span_exporter_fails_to_export_are_dropped_and_counted(fails: str) -> None:
    def behaviour() -> Any:
        if fails == "raises":
            raise ZeroDivisionError
        return SpanExportResult.FAILURE if fails == "returns failure" else None

    processor = InfraPrismSpanProcessor(KeepsSpans(behaviour))
    provider = provider_with(processor)
    call(provider)
    call(provider)
    assert processor.force_flush(10_000)
    stats = processor.delivery_stats.snapshot()
    assert stats["dropped"] == {"exporter_failed": 2}
    assert stats["events"] == {"accepted": 2, "pending": 0}
    processor.shutdown()


def test_errors_of_an_event_exporter_are_caught_and_counted() -> None:
    class Raises(KeepsEvents):
        def export_events(self, events: Sequence[Event]) -> None:
            raise ZeroDivisionError

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            raise ZeroDivisionError

        def shutdown(self, timeout_millis: int = 5000) -> None:
            raise ZeroDivisionError

    processor = InfraPrismSpanProcessor(Raises())
    call(provider_with(processor))
    assert not processor.force_flush(10_000)
    processor.shutdown()
    stats = processor.delivery_stats.snapshot()
    assert stats["dropped"] == {"exporter_failed": 1}
    assert set(stats["errors"]) == {"exporter.export_events", "exporter.force_flush", "exporter.shutdown"}


def test_a_span_that_cannot_be_read_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("infraprism.processor.conversion.candidate_from_span", fail)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    call(provider_with(processor))
    assert processor.force_flush(10_000)
    assert processor.delivery_stats.snapshot()["dropped"] == {"unreadable": 1}
    processor.shutdown()


def test_internal_errors_do_not_reach_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    processor = InfraPrismSpanProcessor(KeepsEvents())
    monkeypatch.setattr(span_start_context.SpanStartContexts, "record", fail)
    for method in ("put", "flush", "shutdown"):
        monkeypatch.setattr(worker.Worker, method, fail)
    with attribution(customer="acme"):
        call(provider_with(processor))
    assert processor.force_flush() is False
    processor.shutdown()
    assert processor.delivery_stats.snapshot()["errors"] == {
        "processor.on_start": 1,
        "processor.on_end": 1,
        "processor.force_flush": 1,
        "processor.shutdown": 1,
    }


def test_more_spans_than_the_queue_holds_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_QUEUE", 3)
    blocked = threading.Event()
    entered = threading.Event()

    def block() -> SpanExportResult:
        entered.set()
        blocked.wait(10)
        return SpanExportResult.SUCCESS

    processor = InfraPrismSpanProcessor(KeepsSpans(block))
    provider = provider_with(processor)
    call(provider)
    assert entered.wait(10)
    for _ in range(5):
        call(provider)
    assert processor.delivery_stats.snapshot()["dropped"] == {"queue_full": 2}
    blocked.set()
    assert processor.force_flush(10_000)
    assert processor.delivery_stats.snapshot()["events"] == {"accepted": 6, "pending": 0}
    assert processor.delivery_stats.count("delivered") == 4
    processor.shutdown()


def test_without_a_registered_exporter_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_exporter, "ENTRY_POINT_NAME", "no-such-exporter")
    with pytest.raises(LookupError, match="no-such-exporter"):
        InfraPrismSpanProcessor()


def test_start_contexts_of_spans_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_start_context, "MAX_SPANS", 3)
    start_contexts = span_start_context.SpanStartContexts()
    with attribution(customer="acme"):
        for _ in range(5):
            start_contexts.record(ended())
    assert len(start_contexts) == 3
    assert start_contexts.delivery_stats.snapshot()["errors"] == {"span_start_context.forgotten": 2}


def test_the_processor_counts_start_contexts_that_it_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_start_context, "MAX_SPANS", 3)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    tracer = provider_with(processor).get_tracer("test")
    with attribution(customer="acme"):
        spans = [tracer.start_span("never ends") for _ in range(5)]
    assert processor.delivery_stats.snapshot()["errors"] == {"span_start_context.forgotten": 2}
    del spans
    processor.shutdown()


def test_a_recorder_records_start_contexts_for_an_exporter_in_another_span_processor() -> None:
    kept = KeepsEndedSpans()
    provider = provider_with(AttributionRecorder(), kept)
    with attribution(customer="acme"):
        call(provider)
    call(provider)
    token = call_in_progress.set(True)
    call(provider)
    call_in_progress.reset(token)
    found = [to_event(span, span_start_context.shared.get(span)) for span in kept.spans]
    assert [event and event.entity_id for event in found] == ["acme", None, None]
    assert (found[1] is not None, found[2] is None) == (True, True)


def test_instrumentation_is_suppressed_while_events_are_exported() -> None:
    enabled: list[bool] = []

    class Records(KeepsEvents):
        def export_events(self, events: Sequence[Event]) -> None:
            enabled.append(is_instrumentation_enabled())

    processor = InfraPrismSpanProcessor(Records())
    call(provider_with(processor))
    assert processor.force_flush(10_000)
    assert enabled == [False]
    processor.shutdown()


def test_calls_of_many_threads_are_all_counted() -> None:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)

    def run(name: str) -> None:
        for _ in range(100):
            with attribution(customer=name):
                call(provider)

    threads = [threading.Thread(target=run, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    processor.shutdown()
    counted = [event.entity_id for event in exporter.events]
    assert {name: counted.count(name) for name in set(counted)} == {f"c{n}": 100 for n in range(4)}


def test_a_call_that_a_finalizer_ends_while_the_worker_starts_is_counted_without_deadlock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "infraprism-processor":
            call(provider)  # as a finalizer may, at any allocation
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    calling = threading.Thread(target=call, args=(provider,), daemon=True)
    calling.start()
    calling.join(20)
    assert not calling.is_alive()
    assert processor.force_flush(10_000)
    assert len(exporter.events) == 2
    processor.shutdown()


def test_a_count_that_a_finalizer_makes_during_another_count_does_not_deadlock() -> None:
    delivery_stats = DeliveryStats()

    class CountsWhenHashed(str):
        """A reason that counts while the lock is held, as a finalizer may at any allocation."""

        __slots__ = ()

        def __hash__(self) -> int:
            if not delivery_stats.accepted:
                delivery_stats.accept()
            return super().__hash__()

    thread = threading.Thread(target=delivery_stats.end, args=("delivered", CountsWhenHashed("ok")), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert delivery_stats.snapshot()["events"] == {"accepted": 1, "pending": 0}
