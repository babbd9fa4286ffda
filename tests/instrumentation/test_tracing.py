"""Where the span of a call goes: once to InfraPrism, and into the application's telemetry only where it asked."""

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

from infraprism.instrumentation.tracing import ANNOUNCED, Borrowed, Forwarding, Tracing, delivery_in
from infraprism.processor import InfraPrismSpanProcessor, to_event

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
SAMPLERS = pytest.mark.parametrize("sampler", ["on", "off", "record"])


class RecordOnly(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "records, samples nothing"


class EventSpans(KeepsEvents, SpanExporter):
    """An exporter that takes events and, in a batch processor of the application, spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.export_events([event for span in spans if (event := to_event(span))])
        return SpanExportResult.SUCCESS


class Before(SpanProcessor):
    """Stands before another processor, and keeps spans from it."""

    def __init__(self, processor: SpanProcessor) -> None:
        self.processor = processor

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self.processor.shutdown()


class StandsFor(trace.TracerProvider):
    """The global provider of an application that keeps the SDK's behind it."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return self.provider.get_tracer(*args, **kwargs)


class Application:
    """An application with a provider of its own, made the global one, and what each side got."""

    def __init__(self, sampler: str) -> None:
        samplers = {"on": ALWAYS_ON, "off": ALWAYS_OFF, "record": RecordOnly()}
        self.spans = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=samplers[sampler], shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.events = EventSpans()
        self.private_events = KeepsEvents()
        self.private = InfraPrismSpanProcessor(self.private_events)

    def call(self, tracing: Tracing) -> None:
        tracing.prepare(self.private, ours=False)
        span = tracing.start_span("chat gpt-4o", CALL, 1_700_000_000_000_000_000)
        assert span is not None
        span.end()

    def counts(self) -> tuple[int, int, int]:
        """Spans the application's own exporter got, events by way of its provider, events by our private one."""
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
def test_an_application_without_infraprism_sees_nothing_of_ours_and_the_call_counts(
    application: Application, sampler: str
) -> None:
    application.call(Tracing())
    assert application.counts() == (0, 0, 1)


@SAMPLERS
def test_an_application_with_our_processor_sees_the_span_if_it_samples_it_and_the_call_counts_once_anyway(
    application: Application, sampler: str
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(Tracing())
    assert application.counts() == (int(sampler == "on"), 1, 0)


@SAMPLERS
def test_the_same_holds_for_our_exporter_in_its_batch_processor(application: Application, sampler: str) -> None:
    application.provider.add_span_processor(BatchSpanProcessor(application.events))
    application.call(Tracing())
    assert application.counts() == (int(sampler == "on"), 1, 0)


@SAMPLERS
@pytest.mark.parametrize("ours", [InfraPrismSpanProcessor, BatchSpanProcessor])
def test_what_is_ours_behind_processors_of_others_gets_the_call_once_whatever_those_keep_from_it(
    application: Application, sampler: str, ours: type[Any]
) -> None:
    several = SynchronousMultiSpanProcessor()
    several.add_span_processor(ours(application.events))
    application.provider.add_span_processor(Before(Before(several)))
    application.call(Tracing())
    assert application.counts() == (0, 1, 0)


def test_a_processor_in_the_provider_behind_the_global_one_gets_the_call_and_the_application_sees_it(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: StandsFor(application.provider))
    application.call(Tracing())
    assert application.counts() == (1, 1, 0)


def test_processors_that_hold_each_other_are_looked_through_to_an_end(application: Application) -> None:
    one = Before(SynchronousMultiSpanProcessor())
    one.processor = Before(one)
    one.force_flush = one.shutdown = lambda *_: True  # type: ignore[method-assign,assignment]  # they would never end
    application.provider.add_span_processor(one)
    application.call(Tracing())
    assert application.counts() == (0, 0, 1)


@pytest.mark.parametrize("key", ANNOUNCED)
def test_a_call_that_an_official_instrumentation_has_announced_has_no_second_span_in_the_applications_telemetry(
    application: Application, key: str
) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    with application.provider.get_tracer("official").start_as_current_span("chat", attributes=CALL) as announced:
        token = attach(set_value(key, object()))
        application.call(Tracing())
        detach(token)
    assert application.counts() == (1, 1, 0)
    assert application.spans.get_finished_spans()[0].context.span_id == announced.get_span_context().span_id
    assert application.events.events[0].span_id != announced.get_span_context().span_id


def test_a_processor_added_later_is_found_at_the_next_call(application: Application) -> None:
    tracing = Tracing()
    application.call(tracing)
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(tracing)
    assert application.counts() == (1, 1, 1)


def test_zero_code_uses_the_private_provider_whatever_the_application_has(application: Application) -> None:
    application.provider.add_span_processor(InfraPrismSpanProcessor(application.events))
    application.call(Tracing(private=True))
    assert application.counts() == (0, 0, 1)


def test_a_provider_that_was_given_gets_the_spans_with_infraprism_in_it_or_not(application: Application) -> None:
    spans = InMemorySpanExporter()
    given = TracerProvider(shutdown_on_exit=False)
    given.add_span_processor(SimpleSpanProcessor(spans))
    application.call(Tracing(given))
    assert len(spans.get_finished_spans()) == 1
    assert application.counts() == (0, 0, 0)
    given.shutdown()


def test_a_span_that_the_given_provider_does_not_want_is_not_made() -> None:
    assert Tracing(TracerProvider(sampler=ALWAYS_OFF)).start_span("chat", CALL, 1) is None


def test_the_private_provider_has_neither_limits_nor_a_sampler_of_the_environment(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, setting in {
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2",
    }.items():
        monkeypatch.setenv(variable, setting)
    application.call(Tracing())
    assert application.counts() == (0, 0, 1)
    assert application.private_events.events[0].model == "gpt-4o"
    assert application.private_events.events[0].provider == "openai"


def test_with_the_sdk_switched_off_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert Tracing(private=True).start_span("chat", CALL, 1) is None


def test_a_delivery_that_cannot_be_set_up_is_tried_once_and_calls_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def broken(*args: object, **kwargs: object) -> None:
        tried.append(1)
        raise LookupError("no exporter")

    monkeypatch.setattr("infraprism.instrumentation.tracing.InfraPrismSpanProcessor", broken)
    tracing = Tracing(private=True)
    assert tracing.start_span("chat", CALL, 1) is None
    assert tracing.start_span("chat", CALL, 1) is None
    assert len(tried) == 1


def test_what_is_borrowed_is_flushed_and_never_shut_down() -> None:
    events = EventSpans()
    processor = InfraPrismSpanProcessor(Borrowed(events))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Forwarding(processor))
    assert delivery_in(provider) is not None
    tracer = provider.get_tracer("t")
    tracer.start_span("chat", attributes=CALL).end()
    provider.shutdown()
    assert len(events.events) == 1
    assert processor in InfraPrismSpanProcessor.live()
    processor.shutdown()
    assert len(events.events) == 1
