"""A call that only InfraPrism sees becomes the event that it would be as a span of the SDK, for half of the work."""

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
from infraprism.instrumentation.tracing import Tracing
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema import Event

START_NS = 1_700_000_000_000_000_000
ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "server.address": "api.openai.com",
    "server.port": 443,
}
ANSWERED = {
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "openai.response.service_tier": "default",
}


class CountsUp(IdGenerator):
    """Ids of an application's own."""

    def __init__(self) -> None:
        self._last = 0

    def generate_trace_id(self) -> int:
        return self.generate_span_id() << 64

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last


class Sees:
    """A provider with our processor, and with another one beside it or not; what became of a call."""

    def __init__(self, *others: SpanProcessor, resource: dict[str, Any] | None = None, **options: Any) -> None:
        self.events = KeepsEvents()
        self.provider = TracerProvider(
            resource=Resource(resource or {}), id_generator=CountsUp(), shutdown_on_exit=False, **options
        )
        self.provider.add_span_processor(InfraPrismSpanProcessor(self.events))
        for other in others:
            self.provider.add_span_processor(other)
        self.kinds: list[type] = []

    def event(self, end: Callable[[AnySpan], None]) -> Event:
        span = Tracing(self.provider).start_span("chat gpt-4o-mini", dict(ASKED), START_NS)
        assert span is not None
        self.kinds.append(type(span))
        end(span)
        assert self.provider.force_flush(5000)
        return self.events.events[-1]


def answered(span: AnySpan) -> None:
    span.set_attributes(ANSWERED)
    span.end(START_NS + 1_234_000_000)


def failed(span: AnySpan) -> None:
    span.set_attributes({"error.type": "openai.RateLimitError", "http.response.status_code": 429})
    span.set_status(Status(StatusCode.ERROR))
    span.end(START_NS + 5_000_000)


RESOURCE = {"infraprism.entity_type": "team", "infraprism.entity_id": "search", "service.name": "shop"}


@pytest.fixture(params=[answered, failed], ids=["answered", "failed"])
def end(request: pytest.FixtureRequest) -> Callable[[AnySpan], None]:
    chosen: Callable[[AnySpan], None] = request.param
    return chosen


@pytest.fixture(params=["root", "below_a_span", "attributed"])
def place(request: pytest.FixtureRequest) -> Iterator[None]:
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.NonRecordingSpan(trace.SpanContext(7 << 64, 7, is_remote=False, trace_flags=sampled))
    if request.param == "below_a_span":
        with trace.use_span(parent):
            yield
    elif request.param == "attributed":
        with attribution(customer="acme-corp", tags={"feature": "chatbot"}):
            yield
    else:
        yield


def test_it_becomes_the_event_that_a_span_of_the_sdk_becomes(place: None, end: Callable[[AnySpan], None]) -> None:
    alone, beside = Sees(resource=RESOURCE), Sees(SpanProcessor(), resource=RESOURCE)

    assert alone.event(end) == beside.event(end)
    assert alone.kinds == [CallSpan]
    assert beside.kinds != [CallSpan]


def test_a_processor_that_is_added_sees_the_spans_from_then_on() -> None:
    seen: list[str] = []

    class Watches(SpanProcessor):
        def on_end(self, span: Any) -> None:
            seen.append(span.name)

    application = Sees()
    tracing = Tracing(application.provider)
    for _ in range(2):
        span = tracing.start_span("chat gpt-4o-mini", dict(ASKED), START_NS)
        assert span is not None
        span.end()
        application.provider.add_span_processor(Watches())

    assert application.provider.force_flush(5000)
    assert len(application.events.events) == 2
    assert seen == ["chat gpt-4o-mini"]


def test_a_scope_that_is_switched_off_makes_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    switched_off = Sees()

    assert Tracing(switched_off.provider).start_span("chat", dict(ASKED), START_NS) is None


def test_a_provider_of_another_make_is_asked_for_its_own_spans() -> None:
    class Other(TracerProvider):
        """May do anything with the spans of its tracers."""

    other = Other(shutdown_on_exit=False)
    other.add_span_processor(InfraPrismSpanProcessor(KeepsEvents()))

    assert type(Tracing(other).start_span("chat", dict(ASKED), START_NS)) is not CallSpan
