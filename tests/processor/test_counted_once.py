"""One event per call, from spans of the SDK, through the processor and through the exporter in a batch processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tests.kit.spans import KeepsEvents, provider_with

from infraprism.attribution.scope import attribution
from infraprism.exporter import InfraPrismSpanExporter
from infraprism.processor import AttributionRecorder, InfraPrismSpanProcessor
from infraprism.schema import Event
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE, call_in_progress

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
}
FRAMEWORK = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o-mini",
    "llm.token_count.prompt": 111,
    "llm.token_count.completion": 37,
}
UNCONSUMED_STREAM = {
    "mlflow.spanType": '"CHAT_MODEL"',
    "mlflow.llm.model": '"gpt-4o-mini"',
    "mlflow.spanOutputs": '"<openai.AsyncStream object at 0x7f2a86a75c10>"',
}
LLAMA_INDEX = "openinference.instrumentation.llama_index"
CLIENT, LANGCHAIN = "opentelemetry.instrumentation.genai.openai", "openinference.instrumentation.langchain"
FLUSH_MILLIS = 10_000


class KeepsWhatItWouldSend(InfraPrismSpanExporter):
    """Our exporter, with the events kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(endpoint="http://127.0.0.1:9", api_key="ip-test-key")
        self.events: list[Event] = []

    def export_events(self, events: Sequence[Event]) -> None:
        self.events += events


class Pipeline(NamedTuple):
    """A provider, its span processors, and the events of its spans. The SDK's batch processor flushes no exporter."""

    provider: TracerProvider
    events: list[Event]
    processors: Sequence[SpanProcessor]
    exporter: InfraPrismSpanExporter | None = None

    def flush(self) -> None:
        assert self.provider.force_flush(FLUSH_MILLIS)
        if self.exporter is not None:
            assert self.exporter.force_flush(FLUSH_MILLIS)


@contextmanager
def processor_pipeline() -> Iterator[Pipeline]:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    yield Pipeline(provider, exporter.events, [processor])
    provider.shutdown()


@contextmanager
def exporter_pipeline() -> Iterator[Pipeline]:
    exporter = KeepsWhatItWouldSend()
    processors = [AttributionRecorder(), BatchSpanProcessor(exporter, schedule_delay_millis=50)]
    provider = provider_with(*processors)
    yield Pipeline(provider, exporter.events, processors, exporter)
    provider.shutdown()


@pytest.fixture(params=[processor_pipeline, exporter_pipeline])
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    open_pipeline: Callable[[], Any] = request.param
    with open_pipeline() as opened:
        yield opened


def span(
    provider: TracerProvider, scope: str, attributes: dict[str, Any], parent: Any = None, start_ns: int | None = None
) -> Any:
    context = None if parent is None else trace.set_span_in_context(parent)
    tracer = provider.get_tracer(scope)
    return tracer.start_span("x", context=context, attributes=attributes, start_time=start_ns)


def wait_for_events(events: Sequence[Event], count: int, timeout_s: float = 10) -> None:
    deadline_s = time.monotonic() + timeout_s
    while len(events) < count and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert len(events) == count


def test_nested_spans_are_one_event_if_they_are_flushed_one_by_one(pipeline: Pipeline) -> None:
    outer = span(pipeline.provider, LANGCHAIN, FRAMEWORK)
    between = span(pipeline.provider, "app", {"http.route": "/"}, outer)
    inner = span(pipeline.provider, CLIENT, CALL, between)
    for each in (inner, between, outer):
        each.end()
        pipeline.flush()
    (event,) = pipeline.events
    assert event.span_id == inner.get_span_context().span_id


def test_an_outer_span_without_model_and_usage_is_matched_through_the_spans_between(pipeline: Pipeline) -> None:
    provider = pipeline.provider
    span(provider, CLIENT, CALL).end()  # from here on, another instrumentation is known
    outer = span(provider, "langfuse-sdk", {"langfuse.observation.type": "generation"})
    first = span(provider, "app", {}, outer)
    second = span(provider, "app", {}, first)
    for each in (span(provider, CLIENT, CALL, second), second, first, outer):
        each.end()
    pipeline.flush()
    assert len(pipeline.events) == 2


def test_a_stream_with_a_span_that_ends_before_the_request_starts_is_one_event(pipeline: Pipeline) -> None:
    start_ns = time.time_ns() - 2_000_000_000
    lazy = span(pipeline.provider, LLAMA_INDEX, FRAMEWORK, start_ns=start_ns)
    client = span(pipeline.provider, CLIENT, CALL, start_ns=start_ns + 300_000_000)
    lazy.add_event("First Token Stream Event", timestamp=start_ns + 400_000_000)
    client.end(start_ns + 1_500_000_000)
    lazy.end(start_ns + 6_000_000)
    pipeline.flush()
    (event,) = pipeline.events
    assert event.span_id == client.get_span_context().span_id


def test_a_stream_with_a_span_that_ends_before_the_stream_is_consumed_is_one_event(pipeline: Pipeline) -> None:
    start_ns = time.time_ns() - 2_000_000_000
    unconsumed = span(pipeline.provider, "mlflow.tracing.provider", UNCONSUMED_STREAM, start_ns=start_ns)
    client = span(pipeline.provider, CLIENT, CALL, start_ns=start_ns + 3_000_000)
    unconsumed.end(start_ns + 40_000_000)
    client.end(start_ns + 1_500_000_000)
    pipeline.flush()
    (event,) = pipeline.events
    assert (event.input_tokens, event.output_tokens) == (111, 37)


def test_two_equal_calls_of_one_instrumentation_are_two_events(pipeline: Pipeline) -> None:
    for _ in range(2):
        span(pipeline.provider, CLIENT, CALL).end()
    pipeline.flush()
    assert len(pipeline.events) == 2


USAGE, LANGCHAIN_TYPE = "langfuse.observation.usage_details", "langfuse.observation.metadata.ls_model_type"
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o-mini"}
WRAPPER = {**LANGFUSE, USAGE: '{"prompt_tokens": 111, "completion_tokens": 37, "total_tokens": 148}'}
HANDLER = {**LANGFUSE, LANGCHAIN_TYPE: '"chat"', USAGE: '{"input": 111, "output": 37, "total": 148}'}


@pytest.mark.parametrize("wrapper", [WRAPPER, LANGFUSE], ids=["with usage", "without"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_call_that_two_instrumentations_report_in_one_scope_is_one_event(
    pipeline: Pipeline, wrapper: dict[str, Any], nested: bool
) -> None:
    for _ in range(2):
        outer = span(pipeline.provider, "langfuse-sdk", HANDLER)
        inner = span(pipeline.provider, "langfuse-sdk", wrapper, outer if nested else None)
        inner.end()
        outer.end()
    pipeline.flush()
    assert [event.input_tokens for event in pipeline.events] == [111, 111]


def test_a_held_event_is_exported_without_a_flush(pipeline: Pipeline) -> None:
    span(pipeline.provider, CLIENT, CALL).end()
    wait_for_events(pipeline.events, 1)


def test_the_attribution_of_the_outer_span_applies_to_a_call_in_a_thread_without_it(pipeline: Pipeline) -> None:
    with attribution(customer="acme-corp"):
        outer = span(pipeline.provider, LANGCHAIN, FRAMEWORK)
    span(pipeline.provider, CLIENT, CALL, outer).end()
    outer.end()
    pipeline.flush()
    assert [event.entity_id for event in pipeline.events] == ["acme-corp"]


def test_spans_that_start_during_a_measured_call_are_part_of_it(pipeline: Pipeline) -> None:
    ours = span(pipeline.provider, INSTRUMENTATION_SCOPE, CALL)
    token = call_in_progress.set(True)
    span(pipeline.provider, CLIENT, CALL).end()
    call_in_progress.reset(token)
    ours.end()
    pipeline.flush()
    assert [event.span_id for event in pipeline.events] == [ours.get_span_context().span_id]


def test_a_span_that_ends_before_its_child_is_no_call_of_its_own() -> None:
    with processor_pipeline() as pipeline:
        provider, start_ns = pipeline.provider, time.time_ns()
        span(provider, CLIENT, CALL, start_ns=start_ns - 20_000_000).end(start_ns - 10_000_000)
        outer = span(provider, LANGCHAIN, {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-mini"})
        inner = span(provider, CLIENT, CALL, outer)
        outer.end()
        pipeline.flush()  # exports every call that is held
        assert len(pipeline.events) == 1
        inner.end()
        pipeline.flush()
        assert len(pipeline.events) == 2
        assert {event.input_tokens for event in pipeline.events} == {111}


def test_each_call_of_a_burst_is_counted_once_or_as_dropped() -> None:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    for _ in range(10_000):
        outer = span(provider, LANGCHAIN, FRAMEWORK)
        span(provider, CLIENT, CALL, outer).end()
        outer.end()
    assert processor.force_flush(60_000)
    dropped = processor.delivery_stats.count("dropped", "queue_full")
    assert 10_000 - dropped <= len(exporter.events) <= 10_000
    assert len({event.span_id for event in exporter.events}) == len(exporter.events)
    provider.shutdown()


def test_a_forked_child_exports_nothing_that_its_parent_holds(pipeline: Pipeline) -> None:
    provider, events = pipeline.provider, pipeline.events
    start_ns = time.time_ns() - 60_000_000_000
    span(provider, CLIENT, CALL).end()  # held
    # An attributed call of our own instrumentation is not held: it shows that the call before it was processed.
    with attribution(customer="acme"):
        ours = span(provider, INSTRUMENTATION_SCOPE, {**CALL, "gen_ai.usage.input_tokens": 5}, start_ns=start_ns)
    ours.end(start_ns + 1_000_000)
    wait_for_events(events, 1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pipeline.flush()
            os.write(write, str(len(events)).encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 8) == b"1"
    os.close(read)
    pipeline.flush()
    assert len(events) == 2


def end_span_made_without_tracer(pipeline: Pipeline, span_id: int) -> None:
    """Pass the processors a span that no tracer started."""
    context = trace.SpanContext(7, span_id, is_remote=False, trace_flags=trace.TraceFlags(1))
    made = ReadableSpan("chat", context=context, attributes=CALL, start_time=1, end_time=2)
    for processor in pipeline.processors:
        processor.on_end(made)


def test_a_span_made_without_a_tracer_has_the_attribution_that_is_active_when_it_ends(pipeline: Pipeline) -> None:
    """The instrumentation of openai by Respan makes such spans."""
    with attribution(customer="acme"):
        end_span_made_without_tracer(pipeline, 1)
        token = call_in_progress.set(True)
        end_span_made_without_tracer(pipeline, 2)
        call_in_progress.reset(token)
    end_span_made_without_tracer(pipeline, 3)
    pipeline.flush()
    assert [event.entity_id for event in pipeline.events] == ["acme", None]
