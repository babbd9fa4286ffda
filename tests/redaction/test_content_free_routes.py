"""ContentFreeSpanExporter removes content from HTTP requests, errors, tools and stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from tests.kit.spans import KeepsSpans

from infraprism.processor import ContentFreeSpanExporter

CANARY = "CANARY content: the patient's name"
KEY = "sk-CANARY-4f1c9e7a"
PROVIDER_ERROR = f"Error code: 400 - {{'error': {{'message': 'flagged: {CANARY}'}}}}"
REMOTE = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("note", "CANARYWORD")]))


def span(
    attributes: dict[str, Any],
    scope: str = "shop",
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    events: Sequence[Event] = (),
    status: Status | None = None,
    **rest: Any,
) -> ReadableSpan:
    return ReadableSpan(
        "a name",
        context=SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(1)),
        attributes=attributes,
        kind=kind,
        events=events,
        status=status or Status(),
        start_time=1,
        end_time=2,
        instrumentation_scope=InstrumentationScope(scope),
        **rest,
    )


def exported(before: ReadableSpan) -> ReadableSpan:
    inner = KeepsSpans()
    exporter = ContentFreeSpanExporter(inner)
    assert exporter.export([before]) is SpanExportResult.SUCCESS
    assert exporter.delivery_stats.snapshot()["errors"] == {}
    (after,) = inner.spans
    return after


def is_clean(after: ReadableSpan) -> bool:
    everything = repr((after.to_json(), after.parent, after.context, [link.context for link in after.links]))
    return "CANARY" not in everything and b"CANARY" not in encode_spans([after]).SerializeToString()


# -- requests


def request(attributes: dict[str, Any], **given: Any) -> ReadableSpan:
    return span(
        {"http.request.method": "POST", "http.response.status_code": 200, **attributes},
        "opentelemetry.instrumentation.httpx",
        kind=SpanKind.CLIENT,
        **given,
    )


METADATA_ONLY = [
    {"url.full": "https://api.openai.com/v1/chat/completions", "server.address": "api.openai.com"},
    {"http.url": "http://10.0.0.7:4000/v1/messages", "http.method": "POST", "http.status_code": 200},
    {"url.full": "https://shop.example/orders?q=a+lamp", "http.request.body.text": "two lamps"},
]
WITH_CONTENT = [
    {"url.full": f"https://generativelanguage.googleapis.com/v1beta/models/gemini:generateContent?key={KEY}"},
    {"http.url": f"https://bob:{KEY}@gateway.example/v1/chat/completions?user={KEY}"},
    {"http.target": f"/v1/responses?prompt={KEY}", "net.peer.name": "api.openai.com"},
    {"url.full": "https://api.anthropic.com/v1/messages", "http.request.body.text": CANARY},
    {"url.full": "https://api.anthropic.com/v1/messages", "http.request.header.authorization": (f"Bearer {KEY}",)},
    {"server.address": "bedrock-runtime.eu-west-1.amazonaws.com", "http.response.body": CANARY},
    {"url.path": "/openai/deployments/mine/chat/completions", "url.query": f"note={KEY}"},
]


@pytest.mark.parametrize("attributes", METADATA_ONLY)
def test_the_span_of_a_request_with_metadata_only_is_exported_unchanged(attributes: dict[str, Any]) -> None:
    before = request(attributes)
    assert exported(before) is before


@pytest.mark.parametrize("attributes", WITH_CONTENT)
def test_bodies_headers_and_queries_of_a_request_to_a_provider_are_not_exported(
    attributes: dict[str, Any],
) -> None:
    before = request(attributes)
    after = exported(before)
    assert is_clean(after)
    assert (after.name, after.attributes["http.request.method"]) == (before.name, "POST")  # type: ignore[index]  # it has them
    assert after.get_span_context() == before.get_span_context()


def test_the_text_of_an_error_of_a_request_to_a_provider_is_not_exported() -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/models"
    failed = Event("exception", {"exception.type": "httpx.HTTPStatusError", "exception.message": f"{url}?key={KEY}"})
    after = exported(
        request({"url.full": url}, events=[failed], status=Status(StatusCode.ERROR, f"for {url}?key={KEY}"))
    )
    assert is_clean(after)
    assert dict(after.events[0].attributes or {}) == {"exception.type": "httpx.HTTPStatusError"}


def test_an_applications_own_server_can_have_the_path_of_a_provider() -> None:
    served = span({"url.path": "/v1/chat/completions", "url.query": "q=1"}, kind=SpanKind.SERVER)
    assert exported(served) is served


# -- errors


@pytest.mark.parametrize(
    "text",
    [
        f"BadRequestError: {PROVIDER_ERROR}",
        f"RuntimeError: the model said no: {PROVIDER_ERROR}",
        f"litellm.BadRequestError: OpenAIException - {CANARY}",
        f"ClientError: 400 INVALID_ARGUMENT. {{'error': {{'message': '{CANARY}'}}}}",
        f"ValidationException: An error occurred when calling the Converse operation: {CANARY}",
        f"OutputParserException: Invalid json output: {CANARY}",
        f"anthropic.BadRequestError: {CANARY}",
    ],
)
def test_a_provider_response_is_not_exported_in_a_status_or_an_attribute(text: str) -> None:
    app = span({"http.route": "/orders", "error.message": text}, status=Status(StatusCode.ERROR, text))
    after = exported(app)
    assert is_clean(after)
    assert (dict(after.attributes or {}), after.status.status_code) == ({"http.route": "/orders"}, StatusCode.ERROR)


def test_an_applications_exception_that_repeats_a_provider_response_is_exported_without_its_text() -> None:
    event = Event("exception", {"exception.type": "shop.NoAnswer", "exception.message": f"sorry: {PROVIDER_ERROR}"})
    assert is_clean(exported(span({}, events=[event])))


@pytest.mark.parametrize(
    "trace_text",
    [
        'Traceback:\n  File "/srv/shop/agents/prices.py", line 3, in look_up\nshop.NoPrice: no such lamp',
        'Traceback:\n  File "/srv/together/orders.py", line 3\nValueError: no such lamp',
    ],
)
def test_an_applications_own_folders_can_have_the_name_of_a_package(trace_text: str) -> None:
    own = Event("exception", {"exception.type": "shop.NoPrice", "exception.stacktrace": trace_text})
    before = span({}, events=[own], status=Status(StatusCode.ERROR, "NoPrice: no such lamp"))
    assert exported(before) is before


def test_an_exception_raised_in_a_client_package_is_exported_without_its_text() -> None:
    for package in ("site-packages/agents", "site-packages/openai", "site-packages\\together", "src/langchain_core"):
        passed = f'File "/usr/lib/{package}/x.py", line 3\nshop.NoPrice: {CANARY}'
        event = Event("exception", {"exception.type": "shop.NoPrice", "exception.stacktrace": passed})
        assert is_clean(exported(span({}, events=[event])))


# -- calls, tools and stores


def test_the_trace_state_of_a_call_its_parent_and_its_links_is_not_exported() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
    after = exported(span(call, parent=REMOTE, links=[Link(REMOTE, {"note": CANARY})]))
    assert is_clean(after)
    assert after.parent is not None
    assert (after.parent.trace_id, after.parent.span_id, after.parent.is_remote) == (7, 8, True)


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("opentelemetry.instrumentation.chromadb", {"db.operation": "query", "db.chroma.query.where": CANARY}),
        ("opentelemetry.instrumentation.pinecone", {"db.system": "pinecone", "anything": CANARY}),
        ("another.scope", {"db.system": "qdrant", "db.qdrant.query.text": CANARY}),
        ("another.scope", {"mcp.method.name": "tools/call", "params": CANARY}),
        ("another.scope", {"embedding.embeddings.0.embedding.vector": (0.1, 0.2), "note": CANARY}),
        ("logfire.openai", {"logfire.span_type": "log", "logfire.msg": CANARY, "request_data": CANARY}),
        ("another.scope", {"gen_ai.a_key_of_next_year": {"deep": [{"er": CANARY.encode()}]}}),
    ],
)
def test_tools_stores_vectors_and_logs_written_as_spans_are_exported_without_content(
    scope: str, attributes: dict[str, Any]
) -> None:
    assert is_clean(exported(span(attributes, scope)))


def test_documents_in_the_events_of_a_store_are_not_exported() -> None:
    found = Event("db.query.result", {"db.query.result.document": CANARY})
    assert is_clean(exported(span({"db.system": "anything"}, events=[found])))


def test_the_span_of_a_database_query_is_exported_unchanged() -> None:
    with trace.get_tracer("shop").start_as_current_span("x"):
        before = span({"db.system": "postgresql", "db.query.text": "SELECT 1", "db.response.returned_rows": 1})
    assert exported(before) is before
