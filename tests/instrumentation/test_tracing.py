"""A span is exported once to InfraPrism, and to the application's telemetry only if that has InfraPrism."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult
from tests.kit.spans import KeepsEvents

from infraprism.instrumentation.installed_components import SharedExporter, SharedProcessor, find_installed
from infraprism.instrumentation.tracing import GENAI_CONTEXT_KEYS, CallTracer
from infraprism.processor import InfraPrismSpanProcessor, to_event

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
SAMPLERS = pytest.mark.parametrize("sampler", ["on", "off", "record"])


class RecordOnly(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "records only"


class EventSpans(KeepsEvents, SpanExporter):
    """An exporter of events and, in a batch processor of the application, of spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.export_events([event for span in spans if (event := to_event(span))])
        return SpanExportResult.SUCCESS


class Wrapper(SpanProcessor):
    """Contains another processor, and passes it no spans."""

    def __init__(self, processor: SpanProcessor) -> None:
        self.processor = processor

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self.processor.shutdown()


class WrapperProvider(trace.TracerProvider):
    """A global provider that wraps the SDK's."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return self.provider.get_tracer(*args, **kwargs)


class Application:
    """An application with its own global provider, and the spans and events that were exported."""

    def __init__(self, sampler: str) -> None:
        samplers = {"on": ALWAYS_ON, "off": ALWAYS_OFF, "record": RecordOnly()}
        self.spans = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=samplers[sampler], shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.events = EventSpans()
        self.private_events = KeepsEvents()
        self.private = InfraPrismSpanProcessor(self.private_events)

    def call(self, tracer: CallTracer) -> None:
        tracer.prepare(self.private, owned=False)
        span = tracer.start_span("chat gpt-4o", CALL, 1_700_000_000_000_000_000)
        assert span is not None
        span.end()

    def counts(self) -> tuple[int, int, int]:
        """Spans of the application's exporter, events of its provider, events of the private provider."""
        self.provider.force_flush(5000)
        self.private.force_flush(5000)
        for processor in InfraPrismSpanProcessor.live():
            processor.force_flush(5000)
        return len(self.spans.get_finished_spans()), len(self.events.events), len(self.private_events.events)


@pytest.fixture
def application(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    marked = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    made = Application(marked.get("sampler", "on"))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    yield made
    made.provider.shutdown()
    made.private.shutdown()


@SAMPLERS
def test_without_infraprism_in_its_provider_the_application_gets_no_span_and_the_call_is_an_event(
    application: Application, sampler: str
) -> None:
    application.call(CallTracer())
    assert application.counts() == (0, 0, 1)


@SAMPLERS
def test_with_our_processor_the_application_gets_the_span_if_sampled_and_the_call_is_one_event_anyway(
    application: Application, sampler: str
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(CallTracer())
    assert application.counts() == (int(sampler == "on"), 1, 0)


@SAMPLERS
def test_with_our_exporter_in_a_batch_processor_the_application_gets_the_span_if_sampled_and_one_event(
    application: Application, sampler: str
) -> None:
    application.provider.add_span_processor(BatchSpanProcessor(application.events))
    application.call(CallTracer())
    assert application.counts() == (int(sampler == "on"), 1, 0)


@SAMPLERS
@pytest.mark.parametrize("ours", [InfraPrismSpanProcessor, BatchSpanProcessor])
def test_a_nested_processor_or_exporter_of_ours_gets_the_call_once_even_if_its_parent_drops_the_span(
    application: Application, sampler: str, ours: type[Any]
) -> None:
    several = SynchronousMultiSpanProcessor()
    several.add_span_processor(ours(application.events))
    application.provider.add_span_processor(Wrapper(Wrapper(several)))
    application.call(CallTracer())
    assert application.counts() == (0, 1, 0)


def test_a_processor_in_a_wrapped_global_provider_gets_the_call_and_the_application_gets_the_span(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: WrapperProvider(application.provider))
    application.call(CallTracer())
    assert application.counts() == (1, 1, 0)


def test_the_search_ends_if_processors_contain_each_other(application: Application) -> None:
    one = Wrapper(SynchronousMultiSpanProcessor())
    one.processor = Wrapper(one)
    one.force_flush = one.shutdown = lambda *_: True  # type: ignore[method-assign,assignment]  # they would recurse without end
    application.provider.add_span_processor(one)
    application.call(CallTracer())
    assert application.counts() == (0, 0, 1)


@pytest.mark.parametrize("key", GENAI_CONTEXT_KEYS)
def test_a_call_announced_by_an_official_instrumentation_has_no_second_span_in_the_applications_telemetry(
    application: Application, key: str
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    with application.provider.get_tracer("official").start_as_current_span("chat", attributes=CALL) as announced:
        token = attach(set_value(key, object()))
        application.call(CallTracer())
        detach(token)
    assert application.counts() == (1, 1, 0)
    assert application.spans.get_finished_spans()[0].context.span_id == announced.get_span_context().span_id
    assert application.events.events[0].span_id != announced.get_span_context().span_id


def test_a_processor_added_later_is_used_for_the_next_call(application: Application) -> None:
    tracer = CallTracer()
    application.call(tracer)
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(tracer)
    assert application.counts() == (1, 1, 1)


def test_zero_code_always_uses_the_private_provider(application: Application) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(CallTracer(private=True))
    assert application.counts() == (0, 0, 1)


def test_a_given_provider_gets_the_spans_even_without_infraprism_in_it(application: Application) -> None:
    spans = InMemorySpanExporter()
    given = TracerProvider(shutdown_on_exit=False)
    given.add_span_processor(SimpleSpanProcessor(spans))
    application.call(CallTracer(given))
    assert len(spans.get_finished_spans()) == 1
    assert application.counts() == (0, 0, 0)
    given.shutdown()


def test_a_span_that_the_sampler_of_the_given_provider_drops_is_not_started() -> None:
    assert CallTracer(TracerProvider(sampler=ALWAYS_OFF)).start_span("chat", CALL, 1) is None


def test_the_private_provider_ignores_limits_and_sampler_of_the_environment(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, setting in {
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2",
    }.items():
        monkeypatch.setenv(variable, setting)
    application.call(CallTracer())
    assert application.counts() == (0, 0, 1)
    assert application.private_events.events[0].model == "gpt-4o"
    assert application.private_events.events[0].provider == "openai"


def test_with_the_sdk_disabled_no_span_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert CallTracer(private=True).start_span("chat", CALL, 1) is None


def test_a_private_provider_that_fails_is_tried_once_and_calls_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def broken(*args: object, **kwargs: object) -> None:
        attempts.append(1)
        raise LookupError("no exporter")

    monkeypatch.setattr("infraprism.instrumentation.tracing.InfraPrismSpanProcessor", broken)
    tracer = CallTracer(private=True)
    assert tracer.start_span("chat", CALL, 1) is None
    assert tracer.start_span("chat", CALL, 1) is None
    assert len(attempts) == 1


def test_a_shared_exporter_or_processor_is_flushed_and_never_shut_down() -> None:
    events = EventSpans()
    processor = InfraPrismSpanProcessor(SharedExporter(events))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SharedProcessor(processor))
    assert find_installed(provider) is not None
    tracer = provider.get_tracer("t")
    tracer.start_span("chat", attributes=CALL).end()
    provider.shutdown()
    assert len(events.events) == 1
    assert processor in InfraPrismSpanProcessor.live()
    processor.shutdown()
    assert len(events.events) == 1
