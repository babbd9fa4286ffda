"""ContentFreeSpanExporter exports no content of generative AI, and all other spans unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from tests.kit.otlp_sink import OtlpSink
from tests.kit.spans import KeepsSpans

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import key_of
from infraprism.processor import ContentFreeSpanExporter
from infraprism.redaction.allowed_attributes import GUARDS

CANARY = "CANARY content: the patient's name"
WORD = "CANARYWORD"
KEYS = sorted(
    {key_of(entry) for dialect in DIALECTS for entries in dialect.keys.values() for entry in entries}
    | set(GUARDS)
    | {
        *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"),
        *("gen_ai.agent.name", "gen_ai.workflow.name", "gen_ai.conversation.id", "gen_ai.headers", "gen_ai.user"),
        *("llm.input_messages.0.message.content", "input.value", "output.value", "traceloop.entity.input"),
        *("traceloop.association.properties.note", "langfuse.observation.input", "langfuse.trace.metadata.note"),
        *("ai.prompt", "ai.telemetry.metadata.note", "haystack.pipeline.input_data", "pydantic_ai.all_messages"),
        *("request_data", "metadata", "tag.tags", "user.id", "session.id", "http.url", "error.message", "anything"),
    }
)


def genai_span(
    scope: str = "opentelemetry.instrumentation.openai.v1", name: str = "chat", **attributes: Any
) -> ReadableSpan:
    """A finished span with a canary in every text outside its attributes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    link = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("note", WORD)]))
    tracer = provider.get_tracer(scope, "1", attributes={"public_key": CANARY})
    started = tracer.start_span(
        f"{name} {CANARY}", kind=SpanKind.CLIENT, attributes=attributes, links=[Link(link, {"note": CANARY})]
    )
    started.add_event("gen_ai.choice", {"message": CANARY})
    started.record_exception(ValueError(CANARY))
    started.set_status(Status(StatusCode.ERROR, CANARY))
    started.end()
    return exporter.get_finished_spans()[0]


def application_span(scope: str = "shop", **attributes: Any) -> ReadableSpan:
    """A finished span of an application."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer(scope).start_as_current_span("GET /orders", attributes=attributes):
        pass
    return exporter.get_finished_spans()[0]


def exported(*spans: ReadableSpan) -> list[ReadableSpan]:
    inner = KeepsSpans()
    exporter = ContentFreeSpanExporter(inner)
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert exporter.delivery_stats.snapshot()["errors"] == {}
    return inner.spans


def encoded(*spans: ReadableSpan) -> bytes:
    return encode_spans(spans).SerializeToString()


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-abc123DEF456",
    "gen_ai.response.finish_reasons": ("stop", CANARY),
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.request.temperature": 0.2,
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.input.messages": CANARY,
    "gen_ai.headers": CANARY,
}


def test_a_call_is_exported_with_its_metadata_only() -> None:
    before = genai_span(**CALL)
    (after,) = exported(before)
    assert after.name == "chat gpt-4o-mini-2024-07-18"
    assert dict(after.attributes or {}) == {
        **{key: value for key, value in CALL.items() if CANARY not in str(value)},
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert (after.kind, after.start_time, after.end_time) == (before.kind, before.start_time, before.end_time)
    assert (after.context.trace_id, after.context.span_id) == (before.context.trace_id, before.context.span_id)
    assert after.parent == before.parent
    assert after.status.status_code is StatusCode.ERROR
    assert (after.status.description, list(after.events)) == (None, [])
    assert after.resource is before.resource


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("openinference.instrumentation.langchain", {"openinference.span.kind": "CHAIN", "input.value": CANARY}),
    ("openinference.instrumentation.crewai", {"crew_agents": CANARY}),
    ("opentelemetry.instrumentation.langchain", {"traceloop.span.kind": "tool", "traceloop.entity.input": CANARY}),
    ("langfuse-sdk", {"langfuse.observation.type": "span", "langfuse.observation.input": CANARY}),
    ("strands.telemetry.tracer", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": CANARY}),
    ("haystack.tracing", {"haystack.pipeline.input_data": CANARY}),
    ("ai", {"operation.name": f"ai.generateText {CANARY}", "ai.prompt": CANARY}),
    ("gen_ai", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": CANARY}),
    ("logfire.openai", {"request_data": CANARY, "logfire.msg": CANARY}),
    ("pydantic-ai", {"agent_name": CANARY, "final_result": CANARY}),
    ("litellm", {"llm.None.input": CANARY, "hidden_params": CANARY}),
    ("an.unknown.tracer", {"gen_ai.something.new": CANARY}),
    ("opentelemetry.instrumentation.bedrock", {"nothing.known": CANARY}),
    ("com.anthropic.sdk.python", {"anthropic.request.id": CANARY}),
    ("llm_tracekit.openai_agents.instrumentor", {"type": "function", "input": CANARY, "output": CANARY}),
    ("acme.opentelemetry.distro.instrumentation.langchain", {"question": CANARY}),
    ("acme.wrapper", {"acme.llm.input_messages.0.content": CANARY}),
    ("acme.wrapper", {"acme.tracing.prompt.0.content": CANARY}),
]


@pytest.mark.parametrize(("scope", "attributes"), KINDS)
def test_no_kind_of_span_of_any_dialect_is_exported_with_content(scope: str, attributes: dict[str, Any]) -> None:
    (after,) = exported(genai_span(scope, **attributes))
    found = encoded(after)
    assert CANARY.encode() not in found
    assert WORD.encode() not in found


@pytest.mark.parametrize(("scope", "attributes"), KINDS)
def test_each_kind_is_recognised_by_its_scope_or_its_keys_alone(scope: str, attributes: dict[str, Any]) -> None:
    (after,) = exported(application_span(scope, **attributes))
    assert CANARY.encode() not in encoded(after)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.sampled_from(
            [
                CANARY,
                (CANARY, "stop"),
                f'{{"prompt_tokens": 1, "note": "{CANARY}"}}',
                f"https://user:{WORD}@{WORD}.example/?q={CANARY}",
                CANARY.encode(),
                *(7, True, math.inf),
            ]
        ),
        max_size=12,
    ),
    st.sampled_from(["opentelemetry.instrumentation.openai.v1", "langfuse-sdk", "ai", "logfire.openai", "litellm"]),
)
def test_no_text_under_a_known_key_is_exported_unless_it_is_a_name(attributes: dict[str, Any], scope: str) -> None:
    found = encoded(*exported(genai_span(scope, **attributes)))
    assert b"CANARY" not in found
    assert b"patient" not in found


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "GET", "url.full": "https://shop.example/?q=1"},
        {"db.query.text": "SELECT 1"},
        {"fi.iban.country": "FI", "sk.session": "1"},
        {"shop.fullfillment.id": "1", "shop.prompt.text": "Sure?", "shop.completions": 3},
    ],
)
def test_all_other_spans_are_exported_unchanged(attributes: dict[str, Any]) -> None:
    before = application_span(**attributes)
    (after,) = exported(before)
    assert after is before


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("shop", {"traceloop.span.kind": "workflow", "traceloop.workflow.name": CANARY}),
        ("shop", {"traceloop.entity.input": CANARY}),
        ("shop", {"honeyhive_event_type": "chain", "honeyhive_inputs.question": CANARY, "honeyhive.project": CANARY}),
        ("shop", {"respan.entity.log_type": "task", "status_code": CANARY}),
        ("shop", {"lmnr.span.input": CANARY, "lmnr.association.properties.user": CANARY}),
        ("shop", {"braintrust.input_json": CANARY, "braintrust.parent": CANARY}),
        ("shop", {"langwatch.span.type": "llm", "langwatch.input": CANARY}),
        ("shop", {"confident.span.input": CANARY}),
        ("shop", {"fi.span.kind": "CHAIN", "raw.input": CANARY}),
        ("shop", {"genkit:input": CANARY}),
        ("shop", {"mlflow.spanInputs": CANARY}),
        ("shop", {"sk.available_functions": CANARY}),
        ("shop", {"_source_type": "LLM provider", "kwargs": CANARY}),
        ("portkey_ai.api_resources.instrumentation.openai.instrumentation", {"kwargs": CANARY}),
        ("weave.conversation", {"anything": CANARY}),
        ("semantic_kernel.functions.kernel_function", {"anything": CANARY}),
        ("Experimental.Microsoft.Extensions.AI", {"anything": CANARY}),
        ("honeyhive.140239277285648", {"anything": CANARY}),
        ("respan.tracer", {"respan.entity.log_method": "python_tracing"}),
    ],
)
def test_the_span_of_a_decorator_is_recognised_by_its_keys_or_its_scope(scope: str, attributes: dict[str, Any]) -> None:
    before = application_span(scope, **attributes)
    (after,) = exported(before)
    assert after.name != before.name
    assert CANARY.encode() not in encoded(after)


def test_a_scope_with_spans_of_all_kinds_does_not_identify_spans_of_generative_ai() -> None:
    before = application_span("org.springframework.boot", **{"http.url": "/orders"})
    (after,) = exported(before)
    assert after is before


def test_a_span_that_encloses_a_call_loses_only_the_propagated_attributes() -> None:
    before = application_span(
        **{
            "http.route": "/orders",
            "traceloop.association.properties.note": CANARY,
            "traceloop.entity.path": CANARY,
            "honeyhive.project": CANARY,
            "lmnr.association.properties.user": CANARY,
            "lmnr.span.path": (CANARY,),
            "lmnr.span.ids_path": ("00000000-0000-0000-74e5-66bb3d0056ee",),
            "lmnr.span.instrumentation_source": "python",
            "lmnr.span.sdk_version": "0.7.16",
            "lmnr.span.language_version": "python@3.11",
            "braintrust.parent": CANARY,
            "langsmith.metadata.note": CANARY,
        }
    )
    (after,) = exported(before)
    assert dict(after.attributes or {}) == {"http.route": "/orders"}
    assert after.name == before.name


class BadRequestError(Exception):
    """The exception of a client package, with the provider's response as its text."""


BadRequestError.__module__ = "openai"


@pytest.mark.parametrize("chained", [False, True])
def test_the_text_of_a_provider_error_is_not_exported_with_an_enclosing_span(chained: bool) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def refused() -> None:
        raise BadRequestError(CANARY)

    def call() -> None:
        try:
            refused()
        except BadRequestError as error:
            if chained:
                raise RuntimeError("no answer") from error
            raise

    with (
        pytest.raises((BadRequestError, RuntimeError)),
        provider.get_tracer("shop").start_as_current_span("GET /orders", attributes={"http.route": "/orders"}),
    ):
        call()
    (after,) = exported(*exporter.get_finished_spans())
    assert CANARY.encode() not in encoded(after)
    assert (after.name, dict(after.attributes or {})) == ("GET /orders", {"http.route": "/orders"})
    assert [event.name for event in after.events] == ["exception"]


def test_an_applications_own_exceptions_are_exported_unchanged() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.raises(ValueError, match="no such order"), provider.get_tracer("shop").start_as_current_span("GET"):
        raise ValueError("no such order")
    (before,) = exporter.get_finished_spans()
    assert exported(before) == [before]


def test_a_span_that_cannot_be_read_is_not_exported_and_is_counted() -> None:
    class Unreadable:
        def __getattr__(self, name: str) -> Any:
            raise OSError(name)

    inner = KeepsSpans()
    exporter = ContentFreeSpanExporter(inner)
    other = application_span()
    unreadable: Any = Unreadable()
    assert exporter.export([unreadable, other]) is SpanExportResult.SUCCESS
    assert inner.spans == [other]
    assert exporter.delivery_stats.count("dropped", "unreadable") == 1


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink("http/protobuf") as running:
        yield running


def test_no_content_is_in_the_bytes_of_an_otlp_exporter(sink: OtlpSink) -> None:
    provider = TracerProvider()
    inner = OTLPSpanExporter(endpoint=f"{sink.endpoint}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(ContentFreeSpanExporter(inner)))
    with provider.get_tracer("shop").start_as_current_span("GET /orders"):
        for scope in (
            "opentelemetry.instrumentation.openai.v1",
            "openinference.instrumentation.openai",
            "langfuse-sdk",
        ):
            with provider.get_tracer(scope).start_as_current_span(f"chat {CANARY}", attributes=CALL) as call:
                call.add_event("gen_ai.choice", {"message": CANARY})
                call.set_status(Status(StatusCode.ERROR, CANARY))
    assert provider.force_flush()
    provider.shutdown()
    assert CANARY.encode() not in sink.seen()
    assert sorted(found.name for found in sink.spans()) == ["GET /orders", *["chat gpt-4o-mini-2024-07-18"] * 3]


def test_flush_and_shutdown_are_forwarded_to_the_inner_exporter() -> None:
    class Inner(KeepsSpans):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[object] = []

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            self.calls.append(timeout_millis)
            return False

        def shutdown(self) -> None:
            self.calls.append("shutdown")

    inner = Inner()
    exporter = ContentFreeSpanExporter(inner)
    assert exporter.force_flush(5) is False
    exporter.shutdown()
    assert inner.calls == [5, "shutdown"]
