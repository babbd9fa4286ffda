"""One event a call, through the processor and through the exporter alone, from the SDK's own spans."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tests.kit.spans import KeepsEvents, provider_with

from infraprism.attribution.scope import attribution
from infraprism.deduplication.call_index import MAX_CALLS
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
UNREAD = {
    "mlflow.spanType": '"CHAT_MODEL"',
    "mlflow.llm.model": '"gpt-4o-mini"',
    "mlflow.spanOutputs": '"<openai.AsyncStream object at 0x7f2a86a75c10>"',
}
LLAMA_INDEX = "openinference.instrumentation.llama_index"
CLIENT, LANGCHAIN = "opentelemetry.instrumentation.genai.openai", "openinference.instrumentation.langchain"


class Alone(InfraPrismSpanExporter):
    """Our exporter in somebody's batch processor, with what it would send kept."""

    def __init__(self) -> None:
        super().__init__(endpoint="http://127.0.0.1:9", api_key="ip-test-key")
        self.events: list[Event] = []

    def export_events(self, events: Sequence[Event]) -> None:
        self.events += events


class Route(NamedTuple):
    """A provider, and the events of its spans. The SDK's batch processor flushes no exporter."""

    provider: TracerProvider
    events: list[Event]
    exporter: Alone | None = None

    def flush(self) -> None:
        self.provider.force_flush()
        if self.exporter is not None:
            self.exporter.force_flush(0)


@contextmanager
def through_the_processor() -> Iterator[Route]:
    kept = KeepsEvents()
    provider = provider_with(InfraPrismSpanProcessor(kept))
    yield Route(provider, kept.events)
    provider.shutdown()


@contextmanager
def through_the_exporter_alone() -> Iterator[Route]:
    exporter = Alone()
    provider = provider_with(AttributionRecorder(), BatchSpanProcessor(exporter, schedule_delay_millis=50))
    yield Route(provider, exporter.events, exporter)
    provider.shutdown()


@pytest.fixture(params=[through_the_processor, through_the_exporter_alone])
def route(request: pytest.FixtureRequest) -> Iterator[Route]:
    open_route: Callable[[], Any] = request.param
    with open_route() as opened:
        yield opened


def span(provider: TracerProvider, scope: str, attributes: dict[str, Any], parent: Any = None) -> Any:
    context = None if parent is None else trace.set_span_in_context(parent)
    return provider.get_tracer(scope).start_span("x", context=context, attributes=attributes)


def test_nested_spans_are_one_event_also_where_their_batches_are_apart(route: Route) -> None:
    provider, events, _ = route
    outer = span(provider, LANGCHAIN, FRAMEWORK)
    between = span(provider, "app", {"http.route": "/"}, outer)
    inner = span(provider, CLIENT, CALL, between)
    inner.end()
    route.flush()
    between.end()
    route.flush()
    outer.end()
    route.flush()
    assert len(events) == 1
    assert events[0].span_id == inner.get_span_context().span_id


def test_an_outer_span_without_model_and_counts_is_told_by_the_spans_between(route: Route) -> None:
    provider, events, _ = route
    span(provider, CLIENT, CALL).end()  # other instrumentations are known from here on
    outer = span(provider, "langfuse-sdk", {"langfuse.observation.type": "generation"})
    first = span(provider, "app", {}, outer)
    second = span(provider, "app", {}, first)
    for ended in (span(provider, CLIENT, CALL, second), second, first, outer):
        ended.end()
    route.flush()
    assert len(events) == 2


def test_a_stream_whose_span_ended_before_the_request_was_made_is_one_event(route: Route) -> None:
    provider, events, _ = route
    start = time.time_ns() - 2_000_000_000
    lazy = provider.get_tracer(LLAMA_INDEX).start_span("x", attributes=FRAMEWORK, start_time=start)
    client = provider.get_tracer(CLIENT).start_span("x", attributes=CALL, start_time=start + 300_000_000)
    lazy.add_event("First Token Stream Event", timestamp=start + 400_000_000)
    client.end(start + 1_500_000_000)
    lazy.end(start + 6_000_000)
    route.flush()
    (event,) = events
    assert event.span_id == client.get_span_context().span_id


def test_a_stream_that_was_handed_on_unread_is_one_event(route: Route) -> None:
    provider, events, _ = route
    start = time.time_ns() - 2_000_000_000
    unread = provider.get_tracer("mlflow.tracing.provider").start_span("x", attributes=UNREAD, start_time=start)
    client = provider.get_tracer(CLIENT).start_span("x", attributes=CALL, start_time=start + 3_000_000)
    unread.end(start + 40_000_000)
    client.end(start + 1_500_000_000)
    route.flush()
    (event,) = events
    assert (event.input_tokens, event.output_tokens) == (111, 37)


def test_two_equal_calls_of_one_instrumentation_are_two(route: Route) -> None:
    provider, events, _ = route
    for _ in range(2):
        span(provider, CLIENT, CALL).end()
    route.flush()
    assert len(events) == 2


USAGE, LANGCHAINS = "langfuse.observation.usage_details", "langfuse.observation.metadata.ls_model_type"
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o-mini"}
WRAPPER = {**LANGFUSE, USAGE: '{"prompt_tokens": 111, "completion_tokens": 37, "total_tokens": 148}'}
HANDLER = {**LANGFUSE, LANGCHAINS: '"chat"', USAGE: '{"input": 111, "output": 37, "total": 148}'}


@pytest.mark.parametrize("wrapper", [WRAPPER, LANGFUSE], ids=["with usage", "without"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_call_that_two_instrumentations_report_in_one_scope_is_one_event(
    route: Route, wrapper: dict[str, Any], nested: bool
) -> None:
    for _ in range(2):
        outer = span(route.provider, "langfuse-sdk", HANDLER)
        inner = span(route.provider, "langfuse-sdk", wrapper, outer if nested else None)
        inner.end()
        outer.end()
    route.flush()
    assert [event.input_tokens for event in route.events] == [111, 111]


def test_an_event_leaves_within_two_seconds_without_a_flush(route: Route) -> None:
    provider, events, _ = route
    started = span(provider, CLIENT, CALL)
    started.end()
    deadline = time.monotonic() + 10
    while not events and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(events) == 1


def test_attribution_of_the_outer_span_reaches_a_call_made_in_a_thread_that_lost_it(route: Route) -> None:
    provider, events, _ = route
    with attribution(customer="acme-corp"):
        outer = span(provider, LANGCHAIN, FRAMEWORK)
    span(provider, CLIENT, CALL, outer).end()
    outer.end()
    route.flush()
    assert [event.entity_id for event in events] == ["acme-corp"]


def test_spans_that_start_inside_a_measured_call_are_parts_of_it(route: Route) -> None:
    provider, events, _ = route
    ours = span(provider, INSTRUMENTATION_SCOPE, CALL)
    entered = call_in_progress.set(True)
    span(provider, CLIENT, CALL).end()
    call_in_progress.reset(entered)
    ours.end()
    route.flush()
    assert [event.span_id for event in events] == [ours.get_span_context().span_id]


def test_a_span_that_ends_while_the_stream_inside_it_goes_on_is_no_call_of_its_own() -> None:
    with through_the_processor() as route:
        provider, events, _ = route
        span(provider, CLIENT, CALL).end()
        time.sleep(0.01)
        outer = span(provider, LANGCHAIN, {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-mini"})
        inner = span(provider, CLIENT, CALL, outer)
        outer.end()
        time.sleep(1.6)  # longer than anything is held
        inner.end()
        route.flush()
        assert len(events) == 2
        assert {event.input_tokens for event in events} == {111}


def test_of_a_burst_each_call_is_counted_once_or_said_to_be_dropped_and_memory_is_bounded() -> None:
    kept = KeepsEvents()
    processor = InfraPrismSpanProcessor(kept)
    provider = provider_with(processor)
    for _ in range(10_000):
        outer = span(provider, LANGCHAIN, FRAMEWORK)
        span(provider, CLIENT, CALL, outer).end()
        outer.end()
    assert processor.force_flush(60_000)
    dropped = processor.delivery_stats.count("dropped", "queue_full")
    assert 10_000 - dropped <= len(kept.events) <= 10_000
    assert len({event.span_id for event in kept.events}) == len(kept.events)
    assert len(processor._delivery._intake._deduplicator) <= MAX_CALLS
    provider.shutdown()


def test_a_forked_child_sends_nothing_of_what_its_parent_holds(route: Route) -> None:
    provider, events, _ = route
    span(provider, CLIENT, CALL).end()
    time.sleep(0.3)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            route.flush()
            time.sleep(1.2)
            os.write(write, str(len(events)).encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 8) == b"0"
    os.close(read)
    route.flush()
    assert len(events) == 1


def put_together(provider: TracerProvider, span_id: int) -> None:
    """A call's span that no tracer made: put together when the call was over, and handed to the processors."""
    of_call = trace.SpanContext(7, span_id, is_remote=False, trace_flags=trace.TraceFlags(1))
    ready = ReadableSpan("chat", context=of_call, attributes=CALL, start_time=1, end_time=2)
    provider._active_span_processor.on_end(ready)


def test_a_span_that_nobody_started_is_for_whom_it_is_handed_over(route: Route) -> None:
    """As Respan's instrumentation of openai does."""
    with attribution(customer="acme"):
        put_together(route.provider, 1)
        token = call_in_progress.set(True)
        put_together(route.provider, 2)
        call_in_progress.reset(token)
    put_together(route.provider, 3)
    route.flush()
    assert [event.entity_id for event in route.events] == ["acme", None]
