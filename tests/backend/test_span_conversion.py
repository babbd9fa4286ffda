"""Cleaned spans of other dialects become events: exact, priced, each call once; anything else is refused."""

from __future__ import annotations

import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from collector.generator.allowed import SPAN_NAME, Allowed
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from tests.kit.backend import Answer, Backend
from tests.kit.backend import span as event_as_span
from tests.kit.otlp_canaries import pairs, span, traces
from tests.kit.otlp_spans import readable_spans
from tests.kit.search import files
from tests.kit.search import traces as traces_of

from infraprism.backend.span_conversion import span_allowlist
from infraprism.dialects import DIALECTS
from infraprism.dialects.guards import GUARDS
from infraprism.processor import to_event
from infraprism.schema import Event, fields

CANARY = "canary-77ab-a-prompt"
SEMCONV = "opentelemetry.instrumentation.openai_v2"
OPENINFERENCE = "openinference.instrumentation.openai"
LANGCHAIN = "openinference.instrumentation.langchain"
CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
    "gen_ai.usage.cache_read.input_tokens": 400,
}
LLM: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o-mini-2024-07-18",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 500,
    "llm.token_count.prompt_details.cache_read": 400,
}
ATTRIBUTED: dict[str, Any] = {
    "infraprism.entity_type": "customer",
    "infraprism.entity_id": "acme-corp",
    "infraprism.session_id": "s 1",
    "infraprism.tags.feature": "chatbot",
}
COST = Decimal("0.00042")
"""600 of 1000 input tokens at 0.15, 400 from the cache at 0.075, 500 output tokens at 0.60 USD per million."""

NewEvent = Callable[..., Event]


def clean(attributes: dict[str, Any], **more: Any) -> Span:
    """A span as the collector leaves it."""
    return span(attributes, **{"name": span_allowlist.SPAN_NAME, **more})


def inside(outer: Span, attributes: dict[str, Any]) -> Span:
    """A span below another one, a little shorter."""
    made = clean(attributes, parent_span_id=outer.span_id)
    made.trace_id = outer.trace_id
    made.start_time_unix_nano = outer.start_time_unix_nano + 1_000_000
    made.end_time_unix_nano = outer.end_time_unix_nano - 1_000_000
    return made


def send(backend: Backend, key: str, *requests: ExportTraceServiceRequest) -> Answer:
    """The requests as one."""
    whole = ExportTraceServiceRequest(resource_spans=[group for one in requests for group in one.resource_spans])
    return backend.export(body=whole.SerializeToString(), key=key)


def reasons(answer: Answer) -> str:
    """What an answer says about what was refused."""
    return str(ExportTraceServiceResponse.FromString(answer.body).partial_success.error_message)


@pytest.mark.parametrize(("scope", "said"), [(SEMCONV, CALL), (OPENINFERENCE, LLM), ("", CALL)])
def test_a_cleaned_span_of_any_dialect_is_an_event_exact_priced_and_attributed(
    backend: Backend, account: str, scope: str, said: dict[str, Any]
) -> None:
    made = clean({**said, **ATTRIBUTED})
    assert send(backend, account, traces([made], scope)).rejected == 0
    (found,) = backend.events(account)
    (expected,) = [event for one in readable_spans(traces([made], scope)) if (event := to_event(one))]
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


def test_usage_detail_prices_a_call_and_is_kept_only_where_the_account_wants_it(backend: Backend) -> None:
    plain, detailed = backend.add_account(), backend.add_account(usage_detail=True)
    for key in (plain, detailed):
        send(backend, key, traces([clean(CALL)]))
    (without,), (whole,) = backend.events(plain), backend.events(detailed)
    assert Decimal(str(without["cost_usd"])) == Decimal(str(whole["cost_usd"])) == COST
    assert not without.get("cache_read_tokens")
    assert whole["cache_read_tokens"] == 400


def test_a_failure_says_its_kind_and_code(backend: Backend, account: str) -> None:
    failed = Status(code=Status.STATUS_CODE_ERROR, message="Error code: 429")
    timed_out = Status(code=Status.STATUS_CODE_ERROR)
    asked = {key: value for key, value in CALL.items() if "usage" not in key}
    sent = [
        clean(asked, status=failed),
        clean({**asked, "exception.type": "timeouterror"}, status=timed_out),
    ]
    assert send(backend, account, traces(sent)).rejected == 0
    found = Counter((one["error_type"], one["error_code"], one["cost_status"]) for one in backend.events(account))
    assert found == Counter([("rate_limit", "429", "no_usage"), ("timeout", None, "no_usage")])


def test_a_request_sent_again_counts_once(backend: Backend, account: str) -> None:
    request = traces([clean(CALL) for _ in range(20)])
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: send(backend, account, request), range(3)))
    assert send(backend, account, request).rejected == 0
    assert [answer.rejected for answer in answers] == [0, 0, 0]
    assert len(backend.events(account)) == 20


def test_a_call_reported_by_two_instrumentations_in_one_request_counts_once(backend: Backend, account: str) -> None:
    outer = clean({**LLM, **ATTRIBUTED})
    inner = inside(outer, CALL)
    send(backend, account, traces([inner], SEMCONV), traces([outer], LANGCHAIN))
    (found,) = backend.events(account)
    assert (found["input_tokens"], found["output_tokens"], found["entity_id"]) == (1000, 500, "acme-corp")


def test_a_call_whose_spans_come_in_two_requests_counts_once_and_so_does_one_of_them_sent_again(
    backend: Backend, account: str
) -> None:
    outer = clean(LLM)
    parts = [traces([inside(outer, CALL)], SEMCONV), traces([outer], LANGCHAIN)]
    with ThreadPoolExecutor(2) as pool:
        assert [answer.rejected for answer in pool.map(lambda part: send(backend, account, part), parts)] == [0, 0]
    for part in parts:
        assert send(backend, account, part).rejected == 0
    assert len(backend.events(account)) == 1


def test_two_calls_of_one_instrumentation_are_two(backend: Backend, account: str) -> None:
    first = clean(CALL)
    second = clean(CALL)
    second.trace_id, second.start_time_unix_nano = first.trace_id, first.start_time_unix_nano
    send(backend, account, traces([first, second]))
    assert len(backend.events(account)) == 2


def test_what_is_answered_is_stored(backend: Backend, account: str) -> None:
    for _ in range(2):
        before = len(backend.events(account))
        assert send(backend, account, traces([clean(CALL)])).rejected == 0
        assert len(backend.events(account)) == before + 1


def test_spans_that_are_no_billed_call_are_accepted_and_become_nothing(backend: Backend, account: str) -> None:
    agent = clean({"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai"})
    nothing = clean({"http.response.status_code": 200})
    assert send(backend, account, traces([agent, nothing])).rejected == 0
    assert backend.events(account) == []


def test_events_of_ours_and_spans_of_others_may_share_a_request(
    backend: Backend, account: str, new_event: NewEvent
) -> None:
    own = new_event()
    spans = ScopeSpans(spans=[event_as_span(own)])
    spans.scope.name, spans.scope.version = "infraprism", "0.1.0"
    other = traces([clean(CALL), clean({**CALL, "gen_ai.prompt": CANARY})])
    answer = send(
        backend, account, ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[spans])]), other
    )
    assert answer.rejected == 1
    found = backend.events(account)
    assert len(found) == 2
    assert own.id in {one["id"] for one in found}


SPOILED: list[tuple[str, Callable[[Span], object]]] = [
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


@pytest.mark.parametrize(("reason", "spoil"), SPOILED)
def test_what_is_more_than_metadata_is_refused_and_never_repeated(
    backend: Backend, account: str, reason: str, spoil: Callable[[Span], object]
) -> None:
    spoiled = clean(CALL)
    spoil(spoiled)
    answer = send(backend, account, traces([spoiled]))
    assert answer.rejected == 1
    assert f"1 {reason} " in reasons(answer)
    assert CANARY.encode() not in answer.body
    assert backend.events(account) == []


@pytest.mark.parametrize("where", ["resource", "resource url", "scope", "scope version", "scope attributes", "url"])
def test_a_resource_or_a_scope_that_says_more_is_refused(backend: Backend, account: str, where: str) -> None:
    request = traces([clean(CALL)])
    (whole,) = request.resource_spans
    (scoped,) = whole.scope_spans
    match where:
        case "resource":
            whole.resource.attributes.extend(pairs({"service.name": CANARY}))
        case "resource url":
            whole.schema_url = CANARY
        case "scope":
            scoped.scope.name = f"{CANARY} with words"
        case "scope version":
            scoped.scope.version = CANARY
        case "scope attributes":
            scoped.scope.attributes.extend(pairs({"a": CANARY}))
        case _:
            scoped.schema_url = CANARY
    answer = send(backend, account, request)
    assert "1 not_clean " in reasons(answer)
    assert CANARY.encode() not in answer.body
    assert backend.events(account) == []


def test_the_keys_that_are_accepted_are_those_that_the_collector_forwards() -> None:
    events = {field.key for field in fields.FIELDS}
    assert {*Allowed(DIALECTS).keys} - events == {*GUARDS} - events
    assert SPAN_NAME == span_allowlist.SPAN_NAME


def test_spans_sent_here_by_mistake_leave_no_trace_in_any_file(tmp_path: Path) -> None:
    whole = span({**CALL, "gen_ai.input.messages": CANARY}, name=f"chat {CANARY}")
    known = clean({**CALL, "gen_ai.prompt": CANARY, "infraprism.session_id": "a-session-that-is-stored"})
    with Backend(tmp_path / "data") as backend:
        sent = traces([whole, known, clean({**CALL, "infraprism.session_id": "a-session-that-is-stored"})])
        assert send(backend, backend.key, sent).rejected == 2
        _, errors = backend.stop()
    held = b"".join(data for _, data in files(tmp_path))
    assert traces_of(["a-session-that-is-stored"], held)
    assert traces_of([CANARY], held + errors.encode() + "\n".join(backend.lines).encode()) == []


def test_where_nothing_can_be_written_nothing_is_acknowledged_and_a_part_sent_again_counts_once(tmp_path: Path) -> None:
    outer = clean(LLM)
    parts = [traces([inside(outer, CALL)], SEMCONV), traces([outer], LANGCHAIN)]
    with Backend(tmp_path / "data") as backend:
        before = resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (700, before[1]))
        assert (send(backend, backend.key, *parts).status, backend.events()) == (503, [])
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, before)
        assert send(backend, backend.key, parts[1]).rejected == 0
        assert len(backend.events()) == 1
        assert send(backend, backend.key, parts[0]).rejected == 0
        assert len(backend.events()) == 1
        backend.stop()


def test_a_server_that_stops_stores_what_it_holds(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        answers: list[Answer] = []
        sender = threading.Thread(
            target=lambda: answers.append(send(backend, backend.key, traces([clean(CALL), clean(CALL)])))
        )
        sender.start()
        sender.join(0.5)
        backend.stop(signal.SIGTERM)
        sender.join(30)
    with Backend(tmp_path / "data") as backend:
        assert [answer.rejected for answer in answers] == [0]
        assert len(backend.events()) == 2


def test_the_beginning_of_a_stream_waits_for_its_end_and_is_stored_without_one_when_the_server_stops(
    tmp_path: Path,
) -> None:
    begun = {
        "logfire.msg_template": "Chat Completion with {request_data[model]!r}",
        "logfire.span_type": "log",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.system": "openai",
        "request_data": True,
    }
    with Backend(tmp_path / "data") as backend:
        request = traces([clean({k: v for k, v in begun.items() if k != "logfire.span_type"})], "logfire.openai")
        assert send(backend, backend.key, request).rejected == 0
        assert backend.events() == []
        backend.stop()
    with Backend(tmp_path / "data") as backend:
        (found,) = backend.events()
        assert found["cost_status"] == "no_usage"
