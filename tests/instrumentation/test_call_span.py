"""A lightweight span becomes the same event as an SDK span."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import IdGenerator, SpanProcessor, TracerProvider
from opentelemetry.trace import Status, StatusCode
from tests.kit.spans import KeepsEvents

from infraprism.instrumentation import attribution
from infraprism.instrumentation.call_span import AnySpan, CallSpan
from infraprism.instrumentation.tracing import CallTracer
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema import Event

START_NS = 1_700_000_000_000_000_000
REQUEST = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "api.openai.com",
    "server.port": 443,
}
RESPONSE = {
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "openai.response.service_tier": "default",
}


class SequentialIds(IdGenerator):
    """An id generator of the application."""

    def __init__(self) -> None:
        self._last = 0

    def generate_trace_id(self) -> int:
        return self.generate_span_id() << 64

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last


class Application:
    """A provider with the InfraPrism processor and `others`. Records the types of the spans and the events of calls."""

    def __init__(self, *others: SpanProcessor, resource: dict[str, Any] | None = None, **options: Any) -> None:
        self.events = KeepsEvents()
        self.provider = TracerProvider(
            resource=Resource(resource or {}), id_generator=SequentialIds(), shutdown_on_exit=False, **options
        )
        self.provider.add_span_processor(InfraPrismSpanProcessor(self.events))
        for other in others:
            self.provider.add_span_processor(other)
        self.span_types: list[type] = []

    def event(self, end: Callable[[AnySpan], None]) -> Event:
        span = CallTracer(self.provider).start_span("chat gpt-4o-mini", dict(REQUEST), START_NS)
        assert span is not None
        self.span_types.append(type(span))
        end(span)
        assert self.provider.force_flush(5000)
        return self.events.events[-1]


def succeed(span: AnySpan) -> None:
    span.set_attributes(RESPONSE)
    span.end(START_NS + 1_234_000_000)


def fail(span: AnySpan) -> None:
    span.set_attributes({"error.type": "openai.RateLimitError", "http.response.status_code": 429})
    span.set_status(Status(StatusCode.ERROR))
    span.end(START_NS + 5_000_000)


def sdk_span_type(provider: TracerProvider) -> type:
    """The class of the SDK's spans. Its name is not public."""
    return type(provider.get_tracer("test").start_span("test"))


RESOURCE = {"infraprism.entity_type": "team", "infraprism.entity_id": "search", "service.name": "shop"}


@pytest.fixture(params=[succeed, fail], ids=["succeeded", "failed"])
def end(request: pytest.FixtureRequest) -> Callable[[AnySpan], None]:
    chosen: Callable[[AnySpan], None] = request.param
    return chosen


@pytest.fixture(params=["root", "child", "attributed"])
def context(request: pytest.FixtureRequest) -> Iterator[None]:
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.NonRecordingSpan(trace.SpanContext(7 << 64, 7, is_remote=False, trace_flags=sampled))
    if request.param == "child":
        with trace.use_span(parent):
            yield
    elif request.param == "attributed":
        with attribution(customer="acme-corp", tags={"feature": "chatbot"}):
            yield
    else:
        yield


def test_a_lightweight_span_becomes_the_same_event_as_an_sdk_span(
    context: None, end: Callable[[AnySpan], None]
) -> None:
    alone = Application(resource=RESOURCE)
    with_other_processor = Application(SpanProcessor(), resource=RESOURCE)

    assert alone.event(end) == with_other_processor.event(end)
    assert alone.span_types == [CallSpan]
    assert with_other_processor.span_types == [sdk_span_type(with_other_processor.provider)]


def test_a_processor_that_is_added_later_receives_the_following_spans() -> None:
    names: list[str] = []

    class RecordsNames(SpanProcessor):
        def on_end(self, span: Any) -> None:
            names.append(span.name)

    application = Application()
    tracer = CallTracer(application.provider)
    for _ in range(2):
        span = tracer.start_span("chat gpt-4o-mini", dict(REQUEST), START_NS)
        assert span is not None
        span.end()
        application.provider.add_span_processor(RecordsNames())

    assert application.provider.force_flush(5000)
    assert len(application.events.events) == 2
    assert names == ["chat gpt-4o-mini"]


def test_a_disabled_sdk_starts_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    disabled = Application()

    assert CallTracer(disabled.provider).start_span("chat", dict(REQUEST), START_NS) is None


def test_a_subclass_of_the_sdk_provider_gets_sdk_spans() -> None:
    class CustomProvider(TracerProvider):
        """Can do anything with the spans of its tracers."""

    custom = CustomProvider(shutdown_on_exit=False)
    custom.add_span_processor(InfraPrismSpanProcessor(KeepsEvents()))

    assert type(CallTracer(custom).start_span("chat", dict(REQUEST), START_NS)) is sdk_span_type(custom)
