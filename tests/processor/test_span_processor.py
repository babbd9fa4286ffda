from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Status, StatusCode
from tests.kit.spans import CALL, KeepsEvents, KeepsSpans, Kept, call, provider_with

from infraprism.attribution import span_start_context
from infraprism.attribution.scope import attribution
from infraprism.processor import (
    AttributionRecorder,
    DeliveryStats,
    InfraPrismSpanProcessor,
    event_exporter,
    span_processor,
    to_event,
)
from infraprism.schema import Event, wire
from infraprism.schema.call_context import call_in_progress


def events_of(*during: Any) -> list[Event]:
    """The events of calls made by each of the functions, through a processor of their own."""
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


def test_attribution_is_that_of_the_start_whoever_made_the_span() -> None:
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


def test_spans_that_start_inside_a_measured_call_are_part_of_it() -> None:
    def run(provider: TracerProvider) -> None:
        outer = provider.get_tracer("ours").start_span("chat", attributes={**CALL, "gen_ai.usage.input_tokens": 1})
        token = call_in_progress.set(True)
        with attribution(customer="acme"):
            call(provider)
        call_in_progress.reset(token)
        outer.end()

    assert [event.input_tokens for event in events_of(run)] == [1]


def test_spans_that_were_recorded_but_not_sampled_count() -> None:
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


def test_an_exporter_of_spans_is_given_clean_finished_spans_off_the_applications_thread() -> None:
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


def test_usage_detail_reaches_an_exporter_of_spans_only_where_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, there in (("", False), ("true", True)):
        monkeypatch.setenv("INFRAPRISM_USAGE_DETAIL", value)
        exporter = KeepsSpans()
        processor = InfraPrismSpanProcessor(exporter)
        call(provider_with(processor), {"gen_ai.usage.cache_read.input_tokens": 40})
        processor.shutdown()
        assert ("infraprism.usage.cache_read_tokens" in (exporter.spans[0].attributes or {})) is there


def test_the_applications_spans_stay_the_same_byte_for_byte() -> None:
    def recorded(*processors: SpanProcessor) -> bytes:
        class Ids(IdGenerator):
            def __init__(self) -> None:
                self.last = 0

            def generate_trace_id(self) -> int:
                return self.generate_span_id()

            def generate_span_id(self) -> int:
                self.last += 1
                return self.last

        kept = Kept()
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


def test_two_processors_on_one_provider_do_not_disturb_each_other() -> None:
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


@pytest.mark.parametrize("fails", ["raises", "says so", "says nothing"])
def test_what_an_exporter_fails_to_export_is_dropped_and_counted(fails: str) -> None:
    def behaviour() -> Any:
        if fails == "raises":
            raise ZeroDivisionError
        return SpanExportResult.FAILURE if fails == "says so" else None

    processor = InfraPrismSpanProcessor(KeepsSpans(behaviour))
    provider = provider_with(processor)
    call(provider)
    call(provider)
    assert processor.force_flush(10_000)
    said = processor.delivery_stats.snapshot()
    assert said["dropped"] == {"exporter_failed": 2}
    assert said["events"] == {"accepted": 2, "pending": 0}
    processor.shutdown()


def test_an_exporter_of_events_that_raises_is_survived_and_counted() -> None:
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
    said = processor.delivery_stats.snapshot()
    assert said["dropped"] == {"exporter_failed": 1}
    assert set(said["errors"]) == {"exporter.export_events", "exporter.force_flush", "exporter.shutdown"}


def test_a_span_that_cannot_be_read_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("infraprism.processor.conversion.candidate", fail)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    call(provider_with(processor))
    assert processor.force_flush(10_000)
    assert processor.delivery_stats.snapshot()["dropped"] == {"unreadable": 1}
    processor.shutdown()


def test_errors_of_ours_do_not_reach_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    processor = InfraPrismSpanProcessor(KeepsEvents())
    monkeypatch.setattr(span_processor, "_frame", fail)
    monkeypatch.setattr(processor, "_put", fail)
    monkeypatch.setattr(processor, "_queue_flushed", fail)
    monkeypatch.setattr(processor, "_finish", fail)
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
    monkeypatch.setattr(span_processor, "MAX_QUEUE", 3)
    blocked = threading.Event()
    entered = threading.Event()

    def block() -> SpanExportResult:
        entered.set()
        blocked.wait(10)
        return SpanExportResult.SUCCESS

    processor = InfraPrismSpanProcessor(KeepsSpans(block))
    provider = provider_with(processor)
    call(provider)
    processor._hurry.put(None)
    assert entered.wait(10)
    for _ in range(5):
        call(provider)
    assert processor.delivery_stats.snapshot()["dropped"] == {"queue_full": 2}
    blocked.set()
    assert processor.force_flush(10_000)
    assert processor.delivery_stats.snapshot()["events"] == {"accepted": 6, "pending": 0}
    assert processor.delivery_stats.count("delivered") == 4
    processor.shutdown()


def test_without_a_registered_exporter_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_exporter, "ENTRY_POINT_NAME", "no-such-exporter")
    with pytest.raises(LookupError, match="no-such-exporter"):
        InfraPrismSpanProcessor()


def test_spans_that_never_end_are_forgotten_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_start_context, "MAX_NOTES", 3)
    processor = InfraPrismSpanProcessor(KeepsEvents())
    tracer = provider_with(processor).get_tracer("test")
    with attribution(customer="acme"):
        spans = [tracer.start_span("never ends") for _ in range(5)]
    assert len(processor._notes) == 3
    assert processor.delivery_stats.snapshot()["errors"] == {"span_start_context.forgotten": 2}
    del spans
    processor.shutdown()


def test_a_recorder_lets_a_lone_exporter_find_the_attribution() -> None:
    kept = Kept()
    provider = provider_with(AttributionRecorder(), kept)
    with attribution(customer="acme"):
        call(provider)
    call(provider)
    token = call_in_progress.set(True)
    call(provider)
    call_in_progress.reset(token)
    found = [to_event(span, span_start_context.shared.of(span)) for span in kept.spans]
    assert [event and event.entity_id for event in found] == ["acme", None, None]
    assert (found[1] is not None, found[2] is None) == (True, True)


def test_exported_calls_are_not_traced_themselves() -> None:
    inner: list[ReadableSpan] = []

    class Traces(KeepsEvents):
        def export_events(self, events: Sequence[Event]) -> None:
            from opentelemetry.instrumentation.utils import is_instrumentation_enabled  # noqa: PLC0415

            inner.append(is_instrumentation_enabled())  # type: ignore[arg-type]

    processor = InfraPrismSpanProcessor(Traces())
    call(provider_with(processor))
    assert processor.force_flush(10_000)
    assert inner == [False]
    processor.shutdown()


def test_many_threads_lose_nothing() -> None:
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


def test_a_call_that_a_finalizer_ends_while_the_worker_starts_is_counted_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "infraprism-processor":
            call(provider)  # as the garbage collector may, anywhere
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    calling = threading.Thread(target=call, args=(provider,), daemon=True)
    calling.start()
    calling.join(20)
    assert not calling.is_alive()
    assert processor.force_flush(10_000)
    assert len(exporter.events) == 2
    processor.shutdown()


def test_a_count_that_a_finalizer_makes_while_another_is_made_holds_nobody_up() -> None:
    delivery_stats = DeliveryStats()

    def counting() -> None:
        with delivery_stats._lock:
            delivery_stats.accept()  # as the garbage collector may, within any allocation
        delivery_stats.end("delivered")

    thread = threading.Thread(target=counting, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert delivery_stats.snapshot()["events"] == {"accepted": 1, "pending": 0}
