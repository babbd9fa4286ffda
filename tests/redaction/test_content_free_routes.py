"""Less obvious routes by which content of generative AI leaves a process, closed; what looks like them, untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from infraprism.processor import ContentFreeSpanExporter

CANARY = "CANARY content: the patient's name"
KEY = "sk-CANARY-4f1c9e7a"
REFUSED = f"Error code: 400 - {{'error': {{'message': 'flagged: {CANARY}'}}}}"
TOLD = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("note", "CANARYWORD")]))


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


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


def through(before: ReadableSpan) -> ReadableSpan:
    kept = Kept()
    gate = ContentFreeSpanExporter(kept)
    assert gate.export([before]) is SpanExportResult.SUCCESS
    assert gate.delivery_stats.snapshot()["errors"] == {}
    (after,) = kept.spans
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


PLAIN = [
    {"url.full": "https://api.openai.com/v1/chat/completions", "server.address": "api.openai.com"},
    {"http.url": "http://10.0.0.7:4000/v1/messages", "http.method": "POST", "http.status_code": 200},
    {"url.full": "https://shop.example/orders?q=a+lamp", "http.request.body.text": "two lamps"},
]
TELLING = [
    {"url.full": f"https://generativelanguage.googleapis.com/v1beta/models/gemini:generateContent?key={KEY}"},
    {"http.url": f"https://bob:{KEY}@gateway.example/v1/chat/completions?user={KEY}"},
    {"http.target": f"/v1/responses?prompt={KEY}", "net.peer.name": "api.openai.com"},
    {"url.full": "https://api.anthropic.com/v1/messages", "http.request.body.text": CANARY},
    {"url.full": "https://api.anthropic.com/v1/messages", "http.request.header.authorization": (f"Bearer {KEY}",)},
    {"server.address": "bedrock-runtime.eu-west-1.amazonaws.com", "http.response.body": CANARY},
    {"url.path": "/openai/deployments/mine/chat/completions", "url.query": f"note={KEY}"},
]


@pytest.mark.parametrize("attributes", PLAIN)
def test_a_request_whose_span_has_metadata_alone_leaves_as_it_is(attributes: dict[str, Any]) -> None:
    before = request(attributes)
    assert through(before) is before


@pytest.mark.parametrize("attributes", TELLING)
def test_bodies_headers_and_queries_do_not_leave_with_the_span_of_a_request_to_a_provider(
    attributes: dict[str, Any],
) -> None:
    before = request(attributes)
    after = through(before)
    assert is_clean(after)
    assert (after.name, after.attributes["http.request.method"]) == (before.name, "POST")  # type: ignore[index]  # it has them
    assert after.get_span_context() == before.get_span_context()


def test_the_text_of_an_error_does_not_leave_with_a_request_to_a_provider() -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/models"
    failed = Event("exception", {"exception.type": "httpx.HTTPStatusError", "exception.message": f"{url}?key={KEY}"})
    after = through(
        request({"url.full": url}, events=[failed], status=Status(StatusCode.ERROR, f"for {url}?key={KEY}"))
    )
    assert is_clean(after)
    assert dict(after.events[0].attributes or {}) == {"exception.type": "httpx.HTTPStatusError"}


def test_an_applications_own_server_may_have_a_path_like_a_providers() -> None:
    served = span({"url.path": "/v1/chat/completions", "url.query": "q=1"}, kind=SpanKind.SERVER)
    assert through(served) is served


# -- errors


@pytest.mark.parametrize(
    "text",
    [
        f"BadRequestError: {REFUSED}",
        f"RuntimeError: the model said no: {REFUSED}",
        f"litellm.BadRequestError: OpenAIException - {CANARY}",
        f"ClientError: 400 INVALID_ARGUMENT. {{'error': {{'message': '{CANARY}'}}}}",
        f"ValidationException: An error occurred when calling the Converse operation: {CANARY}",
        f"OutputParserException: Invalid json output: {CANARY}",
        f"anthropic.BadRequestError: {CANARY}",
    ],
)
def test_what_a_provider_answered_does_not_leave_as_the_text_of_a_status_or_of_an_attribute(text: str) -> None:
    app = span({"http.route": "/orders", "error.message": text}, status=Status(StatusCode.ERROR, text))
    after = through(app)
    assert is_clean(after)
    assert (dict(after.attributes or {}), after.status.status_code) == ({"http.route": "/orders"}, StatusCode.ERROR)


def test_an_exception_of_the_applications_own_that_repeats_a_providers_answer_leaves_without_its_text() -> None:
    told = Event("exception", {"exception.type": "shop.NoAnswer", "exception.message": f"sorry: {REFUSED}"})
    assert is_clean(through(span({}, events=[told])))


@pytest.mark.parametrize(
    "trace_text",
    [
        'Traceback:\n  File "/srv/shop/agents/prices.py", line 3, in look_up\nshop.NoPrice: no such lamp',
        'Traceback:\n  File "/srv/together/orders.py", line 3\nValueError: no such lamp',
    ],
)
def test_an_applications_own_folders_may_be_called_as_packages_are(trace_text: str) -> None:
    own = Event("exception", {"exception.type": "shop.NoPrice", "exception.stacktrace": trace_text})
    before = span({}, events=[own], status=Status(StatusCode.ERROR, "NoPrice: no such lamp"))
    assert through(before) is before


def test_an_exception_that_passed_through_a_client_package_leaves_without_its_text() -> None:
    for package in ("site-packages/agents", "site-packages/openai", "site-packages\\together", "src/langchain_core"):
        passed = f'File "/usr/lib/{package}/x.py", line 3\nshop.NoPrice: {CANARY}'
        event = Event("exception", {"exception.type": "shop.NoPrice", "exception.stacktrace": passed})
        assert is_clean(through(span({}, events=[event])))


# -- around a call


def test_trace_state_does_not_leave_with_a_call_by_its_own_its_parents_or_its_links_context() -> None:
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini"}
    after = through(span(call, parent=TOLD, links=[Link(TOLD, {"note": CANARY})]))
    assert is_clean(after)
    assert after.parent is not None
    assert (after.parent.trace_id, after.parent.span_id, after.parent.is_remote) == (7, 8, True)


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("opentelemetry.instrumentation.chromadb", {"db.operation": "query", "db.chroma.query.where": CANARY}),
        ("opentelemetry.instrumentation.pinecone", {"db.system": "pinecone", "anything": CANARY}),
        ("anybody", {"db.system": "qdrant", "db.qdrant.query.text": CANARY}),
        ("anybody", {"mcp.method.name": "tools/call", "params": CANARY}),
        ("anybody", {"embedding.embeddings.0.embedding.vector": (0.1, 0.2), "note": CANARY}),
        ("logfire.openai", {"logfire.span_type": "log", "logfire.msg": CANARY, "request_data": CANARY}),
        ("anybody", {"gen_ai.a_key_of_next_year": {"deep": [{"er": CANARY.encode()}]}}),
    ],
)
def test_tools_stores_vectors_and_logs_written_as_spans_leave_without_content(
    scope: str, attributes: dict[str, Any]
) -> None:
    assert is_clean(through(span(attributes, scope)))


def test_documents_that_a_store_answered_with_do_not_leave_as_events() -> None:
    found = Event("db.query.result", {"db.query.result.document": CANARY})
    assert is_clean(through(span({"db.system": "anything"}, events=[found])))


def test_an_application_that_asks_a_database_is_left_alone() -> None:
    with trace.get_tracer("shop").start_as_current_span("x"):
        before = span({"db.system": "postgresql", "db.query.text": "SELECT 1", "db.response.returned_rows": 1})
    assert through(before) is before
