"""Cleaned spans of other dialects become events: exact, priced, one per call; any other span is rejected."""

from __future__ import annotations

import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from collector.generator.allowed import SPAN_NAME, Allowed
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.trace import ReadableSpan
from tests.kit.backend import (
    ATTRIBUTION,
    CALL,
    LANGCHAIN,
    LLM,
    OPENINFERENCE,
    SEMCONV,
    Answer,
    Backend,
    cleaned_span,
    nested_span,
)
from tests.kit.backend import span as event_span
from tests.kit.otlp_canaries import export_request, pairs, span
from tests.kit.otlp_spans import readable_spans
from tests.kit.search import files, find_canaries

from infraprism.backend.span_conversion import span_allowlist
from infraprism.backend.span_conversion.cleaned_spans import cleaned_spans
from infraprism.dialects import DIALECTS
from infraprism.dialects.guards import GUARDS
from infraprism.processor import to_event
from infraprism.schema import Event, fields

CANARY = "canary-77ab-a-prompt"
COST = Decimal("0.00042")
"""600 of 1000 input tokens at 0.15, 400 from the cache at 0.075, 500 output tokens at 0.60 USD per million."""

NewEvent = Callable[..., Event]


@pytest.mark.parametrize(("scope", "attributes"), [(SEMCONV, CALL), (OPENINFERENCE, LLM), ("", CALL)])
def test_a_cleaned_span_of_any_dialect_becomes_an_exact_priced_and_attributed_event(
    backend: Backend, account: str, scope: str, attributes: dict[str, Any]
) -> None:
    made = cleaned_span({**attributes, **ATTRIBUTION})
    assert backend.export_requests(export_request([made], scope), key=account).rejected == 0
    (found,) = backend.events(account)
    (expected,) = [event for one in readable_spans(export_request([made], scope)) if (event := to_event(one))]
    assert found["id"] == expected.id
    assert {name: found[name] for name in ("provider", "model", "operation", "cost_status", "success")} == {
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "operation": "chat",
        "cost_status": "priced",
        "success": True,
    }
    assert (found["input_tokens"], found["output_tokens"], found["latency_ms"]) == (1000, 500, 1000)
    assert Decimal(str(found["cost_usd"])) == COST == expected.cost_usd
    assert (found["entity_type"], found["entity_id"], found["session_id"]) == ("customer", "acme-corp", "s 1")
    assert found["tags"] == {"feature": "chatbot"}


def test_usage_detail_is_always_used_for_pricing_and_stored_only_if_enabled_for_the_account(backend: Backend) -> None:
    plain, detailed = backend.add_account(), backend.add_account(usage_detail=True)
    for key in (plain, detailed):
        backend.export_requests(export_request([cleaned_span(CALL)]), key=key)
    (without_detail,), (with_detail,) = backend.events(plain), backend.events(detailed)
    assert Decimal(str(without_detail["cost_usd"])) == Decimal(str(with_detail["cost_usd"])) == COST
    assert not without_detail.get("cache_read_tokens")
    assert with_detail["cache_read_tokens"] == 400


def test_a_failed_call_has_its_error_type_and_code(backend: Backend, account: str) -> None:
    failed = Status(code=Status.STATUS_CODE_ERROR, message="Error code: 429")
    timed_out = Status(code=Status.STATUS_CODE_ERROR)
    without_usage = {key: value for key, value in CALL.items() if "usage" not in key}
    sent = [
        cleaned_span(without_usage, status=failed),
        cleaned_span({**without_usage, "exception.type": "timeouterror"}, status=timed_out),
    ]
    assert backend.export_requests(export_request(sent), key=account).rejected == 0
    found = Counter((one["error_type"], one["error_code"], one["cost_status"]) for one in backend.events(account))
    assert found == Counter([("rate_limit", "429", "no_usage"), ("timeout", None, "no_usage")])


def test_a_resent_request_counts_once(backend: Backend, account: str) -> None:
    request = export_request([cleaned_span(CALL) for _ in range(20)])
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: backend.export_requests(request, key=account), range(3)))
    assert backend.export_requests(request, key=account).rejected == 0
    assert [answer.rejected for answer in answers] == [0, 0, 0]
    assert len(backend.events(account)) == 20


def test_a_call_reported_by_two_instrumentations_in_one_request_counts_once(backend: Backend, account: str) -> None:
    outer = cleaned_span({**LLM, **ATTRIBUTION})
    inner = nested_span(outer, CALL)
    backend.export_requests(export_request([inner], SEMCONV), export_request([outer], LANGCHAIN), key=account)
    (found,) = backend.events(account)
    assert (found["input_tokens"], found["output_tokens"], found["entity_id"]) == (1000, 500, "acme-corp")


def test_a_call_with_spans_in_two_requests_counts_once_also_if_a_request_is_resent(
    backend: Backend, account: str
) -> None:
    outer = cleaned_span(LLM)
    parts = [export_request([nested_span(outer, CALL)], SEMCONV), export_request([outer], LANGCHAIN)]
    with ThreadPoolExecutor(2) as pool:
        assert [
            answer.rejected for answer in pool.map(lambda part: backend.export_requests(part, key=account), parts)
        ] == [0, 0]
    for part in parts:
        assert backend.export_requests(part, key=account).rejected == 0
    assert len(backend.events(account)) == 1


def test_two_calls_of_one_instrumentation_are_two_events(backend: Backend, account: str) -> None:
    first = cleaned_span(CALL)
    second = cleaned_span(CALL)
    second.trace_id, second.start_time_unix_nano = first.trace_id, first.start_time_unix_nano
    backend.export_requests(export_request([first, second]), key=account)
    assert len(backend.events(account)) == 2


def test_events_are_stored_before_the_request_is_acknowledged(backend: Backend, account: str) -> None:
    for _ in range(2):
        before = len(backend.events(account))
        assert backend.export_requests(export_request([cleaned_span(CALL)]), key=account).rejected == 0
        assert len(backend.events(account)) == before + 1


def test_spans_without_a_billed_call_are_accepted_and_not_stored(backend: Backend, account: str) -> None:
    agent = cleaned_span({"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai"})
    http_span = cleaned_span({"http.response.status_code": 200})
    assert backend.export_requests(export_request([agent, http_span]), key=account).rejected == 0
    assert backend.events(account) == []


def test_events_and_cleaned_spans_may_share_a_request(backend: Backend, account: str, new_event: NewEvent) -> None:
    own = new_event()
    spans = ScopeSpans(spans=[event_span(own)])
    spans.scope.name, spans.scope.version = "infraprism", "0.1.0"
    other = export_request([cleaned_span(CALL), cleaned_span({**CALL, "gen_ai.prompt": CANARY})])
    events = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[spans])])
    answer = backend.export_requests(events, other, key=account)
    assert answer.rejected == 1
    found = backend.events(account)
    assert len(found) == 2
    assert own.id in {one["id"] for one in found}


REJECTED: list[tuple[str, Callable[[Span], object]]] = [
    ("unknown_key", lambda made: made.attributes.extend(pairs({"gen_ai.input.messages": CANARY}))),
    ("unknown_key", lambda made: made.attributes.extend(pairs({"input.value": CANARY}))),
    ("unknown_key", lambda made: made.attributes.extend(pairs({"infraprism.model": CANARY}))),
    ("unknown_key", lambda made: made.attributes.extend(pairs({"session.id": CANARY}))),
    ("unknown_key", lambda made: made.attributes.extend(pairs({"": CANARY}))),
    ("duplicate_key", lambda made: made.attributes.extend(pairs({"gen_ai.request.model": CANARY}))),
    ("wrong_type", lambda made: made.attributes.extend(pairs({"error.type": [CANARY]}))),
    ("wrong_type", lambda made: made.attributes.extend(pairs({"error.type": CANARY.encode()}))),
    ("wrong_type", lambda made: made.attributes.extend(pairs({"infraprism.tags.a": 1}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"error.type": f"{CANARY} and more words"}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"gen_ai.response.id": CANARY}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"llm.token_count.total": CANARY}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"litellm.call_id": CANARY}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"infraprism.session_id": f"{CANARY}\n"}))),
    ("bad_value", lambda made: made.attributes.extend(pairs({"infraprism.tags.A": CANARY}))),
    ("too_many_tags", lambda made: made.attributes.extend(pairs({f"infraprism.tags.t{n}": "x" for n in range(33)}))),
    ("not_clean", lambda made: setattr(made, "name", CANARY)),
    ("not_clean", lambda made: setattr(made, "trace_state", CANARY)),
    ("not_clean", lambda made: setattr(made.status, "message", CANARY)),
    ("not_clean", lambda made: made.events.add(name=CANARY)),
    ("not_clean", lambda made: made.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8)),
    ("bad_ids", lambda made: setattr(made, "trace_id", bytes(16))),
    ("bad_ids", lambda made: setattr(made, "span_id", b"\1" * 9)),
    ("bad_time", lambda made: setattr(made, "start_time_unix_nano", 2**63)),
]


@pytest.mark.parametrize(("reason", "change"), REJECTED)
def test_a_span_with_more_than_metadata_is_rejected_and_the_response_repeats_nothing(
    backend: Backend, account: str, reason: str, change: Callable[[Span], object]
) -> None:
    changed = cleaned_span(CALL)
    change(changed)
    answer = backend.export_requests(export_request([changed]), key=account)
    assert answer.rejected == 1
    assert f"1 {reason} " in answer.error_message
    assert CANARY.encode() not in answer.body
    assert backend.events(account) == []


@pytest.mark.parametrize(("reason", "change"), REJECTED)
def test_a_resent_span_is_rejected_for_the_same_reason(reason: str, change: Callable[[Span], object]) -> None:
    accepted, changed = cleaned_span(CALL), cleaned_span(CALL)
    change(changed)
    for _ in range(2):
        spans, rejected = cleaned_spans(export_request([accepted, changed, changed]).resource_spans)
        assert len(spans) == 1
        assert rejected == {reason: 2}


FAILED = Status(code=Status.STATUS_CODE_ERROR, message="Error code: 429")
CLEANED: list[tuple[str, Span]] = [
    (SEMCONV, cleaned_span({**CALL, **ATTRIBUTION})),
    (SEMCONV, cleaned_span(CALL, parent_span_id=b"a parent")),
    (SEMCONV, cleaned_span({**CALL, "gen_ai.request.stream": True}, status=Status(code=Status.STATUS_CODE_OK))),
    (SEMCONV, cleaned_span({**CALL, "error.type": "429"}, status=FAILED)),
    (SEMCONV, cleaned_span({**CALL, "exception.type": "timeouterror"}, status=FAILED)),
    (OPENINFERENCE, cleaned_span({**LLM, **ATTRIBUTION})),
    (OPENINFERENCE, cleaned_span({**LLM, "exception.type": "timeouterror"}, kind=Span.SPAN_KIND_INTERNAL)),
]


@pytest.mark.parametrize(("scope", "made"), CLEANED)
def test_a_cleaned_span_is_converted_like_a_span_of_the_sdk(scope: str, made: Span) -> None:
    request = export_request([made], scope)
    (expected,) = map(to_event, readable_spans(request))
    assert expected is not None
    for _ in range(2):
        spans, rejected = cleaned_spans(request.resource_spans)
        assert not rejected
        assert [to_event(cast("ReadableSpan", one)) for one in spans] == [expected]


@pytest.mark.parametrize("where", ["resource", "resource url", "scope", "scope version", "scope attributes", "url"])
def test_spans_of_a_resource_or_scope_with_more_than_a_name_are_rejected(
    backend: Backend, account: str, where: str
) -> None:
    request = export_request([cleaned_span(CALL)])
    (group,) = request.resource_spans
    (scoped,) = group.scope_spans
    match where:
        case "resource":
            group.resource.attributes.extend(pairs({"service.name": CANARY}))
        case "resource url":
            group.schema_url = CANARY
        case "scope":
            scoped.scope.name = f"{CANARY} with words"
        case "scope version":
            scoped.scope.version = CANARY
        case "scope attributes":
            scoped.scope.attributes.extend(pairs({"a": CANARY}))
        case _:
            scoped.schema_url = CANARY
    answer = backend.export_requests(request, key=account)
    assert "1 not_clean " in answer.error_message
    assert CANARY.encode() not in answer.body
    assert backend.events(account) == []


def test_the_allowed_keys_are_those_that_the_collector_forwards() -> None:
    events = {field.key for field in fields.FIELDS}
    assert {*Allowed(DIALECTS).keys} - events == {*GUARDS} - events
    assert SPAN_NAME == span_allowlist.SPAN_NAME


def test_the_content_of_rejected_spans_is_written_to_no_file(tmp_path: Path) -> None:
    full = span({**CALL, "gen_ai.input.messages": CANARY}, name=f"chat {CANARY}")
    partly_cleaned = cleaned_span(
        {**CALL, "gen_ai.prompt": CANARY, "infraprism.session_id": "a-session-that-is-stored"}
    )
    with Backend(tmp_path / "data") as backend:
        sent = export_request(
            [full, partly_cleaned, cleaned_span({**CALL, "infraprism.session_id": "a-session-that-is-stored"})]
        )
        assert backend.export_requests(sent).rejected == 2
        _, errors = backend.stop()
    written = b"".join(data for _, data in files(tmp_path))
    assert find_canaries(["a-session-that-is-stored"], written)
    assert find_canaries([CANARY], written + errors.encode() + "\n".join(backend.lines).encode()) == []


def test_requests_are_not_acknowledged_while_the_disk_is_full_and_a_retry_counts_once(tmp_path: Path) -> None:
    outer = cleaned_span(LLM)
    parts = [export_request([nested_span(outer, CALL)], SEMCONV), export_request([outer], LANGCHAIN)]
    with Backend(tmp_path / "data") as backend:
        before = resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (700, before[1]))
        assert (backend.export_requests(*parts).status, backend.events()) == (503, [])
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, before)
        assert backend.export_requests(parts[1]).rejected == 0
        assert len(backend.events()) == 1
        assert backend.export_requests(parts[0]).rejected == 0
        assert len(backend.events()) == 1
        backend.stop()


def test_stopping_the_server_stores_the_calls_that_are_held(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        answers: list[Answer] = []
        sender = threading.Thread(
            target=lambda: answers.append(
                backend.export_requests(export_request([cleaned_span(CALL), cleaned_span(CALL)]))
            )
        )
        sender.start()
        sender.join(0.5)
        backend.stop(signal.SIGTERM)
        sender.join(30)
    with Backend(tmp_path / "data") as backend:
        assert [answer.rejected for answer in answers] == [0]
        assert len(backend.events()) == 2


def test_the_start_of_a_stream_is_held_until_its_end_or_until_the_server_stops(
    tmp_path: Path,
) -> None:
    stream_start = {
        "logfire.msg_template": "Chat Completion with {request_data[model]!r}",
        "logfire.span_type": "log",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.system": "openai",
        "request_data": True,
    }
    with Backend(tmp_path / "data") as backend:
        request = export_request(
            [cleaned_span({k: v for k, v in stream_start.items() if k != "logfire.span_type"})], "logfire.openai"
        )
        assert backend.export_requests(request).rejected == 0
        assert backend.events() == []
        backend.stop()
    with Backend(tmp_path / "data") as backend:
        (found,) = backend.events()
        assert found["cost_status"] == "no_usage"
