"""A span that is not exactly an event is rejected with a reason of a closed list."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import Backend, request, set_attribute, span
from tests.kit.events import START_NS

from infraprism.backend.ingest.statement import REASONS
from infraprism.schema import FIELDS, Event
from infraprism.schema.fields import TAG_PREFIX

CANARY = "canary-4f9c-secret"
P = "infraprism."


def _attributes(**changes: Any) -> Callable[[Span], None]:
    def change(made: Span) -> None:
        for name, value in changes.items():
            key = P + name.replace("__", ".")
            kept = [pair for pair in made.attributes if pair.key != key]
            del made.attributes[:]
            made.attributes.extend(kept)
            if value is not None:
                set_attribute(made, key, value)

    return change


def _field(**changes: Any) -> Callable[[Span], None]:
    def change(made: Span) -> None:
        for name, value in changes.items():
            setattr(made, name, value)

    return change


def _tags(count: int) -> Callable[[Span], None]:
    return _attributes(**{f"tags__t{number}": "x" for number in range(count)})


INVALID: list[tuple[str, Callable[[Span], object]]] = [
    ("bad_ids", _field(trace_id=b"\1" * 15)),
    ("bad_ids", _field(trace_id=b"")),
    ("bad_ids", _field(span_id=b"\1" * 9)),
    ("bad_ids", _field(trace_id=bytes(16))),
    ("bad_ids", _field(span_id=bytes(8))),
    ("bad_time", _field(start_time_unix_nano=0)),
    ("bad_time", _field(start_time_unix_nano=1_577_836_799_999_999_999)),
    ("bad_time", _field(start_time_unix_nano=2**64 - 1)),
    ("bad_time", _field(start_time_unix_nano=2**63)),
    ("bad_time", _field(start_time_unix_nano=time.time_ns() + 90_000 * 10**9)),
    ("not_clean", _field(name=CANARY)),
    ("not_clean", _field(name="chat gpt-4o ")),
    ("not_clean", _field(trace_state=CANARY)),
    ("not_clean", lambda made: made.events.add(name=CANARY)),
    ("not_clean", lambda made: made.links.add(trace_id=b"\1" * 16, span_id=b"\1" * 8)),
    ("not_clean", lambda made: setattr(made.status, "message", CANARY)),
    ("too_many_tags", _tags(33)),
    ("unknown_key", _attributes(prompt=CANARY)),
    ("unknown_key", lambda made: set_attribute(made, "gen_ai.input.messages", CANARY)),
    ("unknown_key", lambda made: set_attribute(made, "", CANARY)),
    ("unknown_key", lambda made: set_attribute(made, "infraprism.Model", "gpt-4o")),
    ("unknown_key", lambda made: set_attribute(made, "infraprism.tags", "x")),
    ("duplicate_key", lambda made: set_attribute(made, "infraprism.model", "gpt-4o")),
    ("duplicate_key", lambda made: [set_attribute(made, "infraprism.tags.a", "x") for _ in range(2)]),
    *(
        ("missing_key", _attributes(**{name: None}))
        for name in ("model", "provider", "operation", "latency_ms", "cost_status", "success")
    ),
    ("wrong_type", _attributes(model=5)),
    ("wrong_type", _attributes(input_tokens="150")),
    ("wrong_type", _attributes(input_tokens=150.0)),
    ("wrong_type", _attributes(cost_usd=0.0065)),
    ("wrong_type", _attributes(success="true")),
    ("wrong_type", _attributes(latency_ms=True)),
    ("wrong_type", _attributes(entity_id=[CANARY])),
    ("wrong_type", _attributes(session_id=CANARY.encode())),
    ("wrong_type", _attributes(tags__a=1)),
    ("wrong_type", lambda made: made.attributes.add(key="infraprism.session_id")),
    ("wrong_type", _attributes(usage__cache_read_tokens="1")),
    ("bad_value", _attributes(model="")),
    ("bad_value", _attributes(model=f"{CANARY} with a sentence")),
    ("bad_value", _attributes(model="x" * 129)),
    ("bad_value", _attributes(model="gpt-4o\n")),
    ("bad_value", _attributes(provider=CANARY)),
    ("bad_value", _attributes(provider="")),
    ("bad_value", _attributes(operation="agent")),
    ("bad_value", _attributes(cost_status="guessed")),
    ("bad_value", _attributes(input_tokens=-1)),
    ("bad_value", _attributes(input_tokens=10**12 + 1, output_tokens=0, total_tokens=10**12 + 1)),
    ("bad_value", _attributes(latency_ms=2**32)),
    ("bad_value", _attributes(cost_usd="1e3")),
    ("bad_value", _attributes(cost_usd="-1")),
    ("bad_value", _attributes(cost_usd="00.1")),
    ("bad_value", _attributes(cost_usd="0." + "1" * 19)),
    ("bad_value", _attributes(cost_usd="")),
    ("bad_value", _attributes(entity_type="robot")),
    ("bad_value", _attributes(entity_id="")),
    ("bad_value", _attributes(entity_id="two\nlines")),
    ("bad_value", _attributes(entity_id="x" * 257)),
    ("bad_value", _attributes(session_id="\u2028")),
    ("bad_value", _attributes(session_id="\u200b")),
    ("bad_value", _attributes(session_id="")),
    ("bad_value", _attributes(tags__a="x" * 257)),
    ("bad_value", _attributes(tags__a="two\r\nlines")),
    ("bad_value", lambda made: set_attribute(made, "infraprism.tags.A", "x")),
    ("bad_value", lambda made: set_attribute(made, "infraprism.tags.", "x")),
    ("bad_value", lambda made: set_attribute(made, "infraprism.tags." + "a" * 65, "x")),
    ("bad_value", _attributes(success=False, error_type=CANARY)),
    ("bad_value", _attributes(success=False, error_type="")),
    ("bad_value", _attributes(success=False, error_type="other", error_code=f"No such model: {CANARY}")),
    ("bad_value", _attributes(usage__cache_read_tokens=-1)),
    ("bad_value", _attributes(usage__service_tier=CANARY)),
    ("bad_value", _attributes(usage__web_searches=10**6 + 1)),
    ("inconsistent", _attributes(total_tokens=651)),
    ("inconsistent", _attributes(total_tokens=None)),
    ("inconsistent", _attributes(input_tokens=None)),
    ("inconsistent", _attributes(entity_id=None)),
    ("inconsistent", _attributes(entity_type=None)),
    ("inconsistent", _attributes(cost_usd=None)),
    ("inconsistent", _attributes(cost_status="no_usage")),
    ("inconsistent", _attributes(error_type="timeout")),
    ("inconsistent", _attributes(error_code="429")),
    ("inconsistent", _attributes(success=False)),
]


def test_every_invalid_span_is_rejected_with_its_reason_and_the_others_are_stored(
    backend: Backend, new_event: Callable[..., Event], account: str
) -> None:
    good = [span(new_event()) for _ in range(3)]
    expected: dict[str, int] = {}
    invalid = []
    for reason, change_span in INVALID:
        made = span(new_event())
        change_span(made)
        invalid.append(made)
        expected[reason] = expected.get(reason, 0) + 1
    answer = backend.export(*invalid[:20], *good, *invalid[20:], key=account)
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert {name: int(number) for number, name in re.findall(r"(\d+) (\w+) \(", partial.error_message)} == expected
    assert partial.rejected_spans == len(INVALID)
    assert set(expected) == set(REASONS) - {"expired", "deleted"}, "a reason has no example"
    assert len(backend.events(account)) == 3
    assert CANARY not in partial.error_message


@pytest.mark.parametrize("invalid", INVALID[::8])  # the test above has all of them in one request
def test_an_invalid_span_is_rejected_as_the_only_span_of_a_request(
    backend: Backend, new_event: Callable[..., Event], invalid: tuple[str, Callable[[Span], object]]
) -> None:
    reason, change_span = invalid
    made = span(new_event())
    change_span(made)
    message = ExportTraceServiceResponse.FromString(backend.export(made).body).partial_success.error_message
    assert message.startswith(f"spans refused: 1 {reason} ")


def _resource(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = CANARY


def _scope_name(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].scope_spans[0].scope.name = CANARY


def _scope_version(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].scope_spans[0].scope.version = f"a sentence, {CANARY}"


def _scope_attribute(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].scope_spans[0].scope.attributes.add(key=CANARY)


def _schema_url(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].schema_url = CANARY


def _scope_schema_url(made: ExportTraceServiceRequest) -> None:
    made.resource_spans[0].scope_spans[0].schema_url = CANARY


@pytest.mark.parametrize(
    "change_span", [_resource, _scope_name, _scope_version, _scope_attribute, _schema_url, _scope_schema_url]
)
def test_an_invalid_resource_or_scope_rejects_only_its_own_spans(
    backend: Backend,
    new_event: Callable[..., Event],
    account: str,
    change_span: Callable[[ExportTraceServiceRequest], None],
) -> None:
    made = request([span(new_event()), span(new_event())])
    change_span(made)
    made.MergeFrom(request([span(new_event())]))
    answer = backend.export(body=made.SerializeToString(), key=account)
    assert answer.rejected == 2
    assert b"2 not_clean" in answer.body
    assert CANARY.encode() not in answer.body
    assert len(backend.events(account)) == 1


def test_values_at_their_bounds_are_accepted(backend: Backend, new_event: Callable[..., Event], account: str) -> None:
    tags = {f"k{number}": "\u00fc\u6f22 " * 64 for number in range(32)} | {"a" * 64: ""}
    tags.pop("k31")
    event = new_event(
        model="m" * 128,
        entity_id="\u6f22" * 256,
        session_id="x" * 256,
        tags=tags,
        input_tokens=10**12,
        output_tokens=10**12,
        latency_ms=2**32 - 1,
        cost_usd="0",
    )
    made = span(event)
    _attributes(cost_usd="9" * 18 + "." + "9" * 18, cost_status="priced")(made)
    made.start_time_unix_nano = 1_577_836_800_000_000_000
    assert backend.export(made, key=account).rejected == 0
    (stored,) = backend.events(account)
    assert stored["tags"] == tags
    assert str(stored["cost_usd"]) == "9" * 18 + "." + "9" * 18
    assert stored["total_tokens"] == 2 * 10**12
    assert (stored["entity_id"], stored["timestamp"]) == ("\u6f22" * 256, "2020-01-01T00:00:00.000Z")


REJECTED_REQUESTS: list[tuple[int, dict[str, Any]]] = [
    (401, {"key": ""}),
    (401, {"key": "ip-not-a-key-of-this-server"}),
    (401, {"authorization": "Basic aXA6eA=="}),
    (415, {"content_type": "text/plain"}),
    (415, {"content_encoding": "br"}),
    (400, {"body": b"\x0a\xff\xff"}),
    (400, {"body": b"plainly no protobuf"}),
    (400, {"body": b"\x0a\x04", "content_encoding": "gzip"}),
    (400, {"body": gzip.compress(b"\x0a\x00")[:-9], "content_encoding": "gzip"}),
    (413, {"body": b"\x0a" * (17 * 2**20)}),
    (413, {"body": bytes(64 * 2**20), "compress": True}),
    (413, {"body": request([Span()] * 60_000).SerializeToString(), "compress": True}),
]


@pytest.mark.parametrize(("status", "arguments"), REJECTED_REQUESTS)
def test_a_rejected_request_is_answered_with_a_status_in_its_encoding(
    backend: Backend, status: int, arguments: dict[str, Any]
) -> None:
    answer = backend.export(**arguments)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/x-protobuf"
    status_message = Status.FromString(answer.body)
    assert status_message.code
    assert status_message.message


JSON_FAULTS = [
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"[" * 100_000,
    b'{"resourceSpans": 5}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 7}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "x"}]}]}]}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("body", JSON_FAULTS)
def test_invalid_json_is_rejected_with_a_json_status(backend: Backend, body: bytes) -> None:
    answer = backend.export(body=body, content_type="application/json")
    assert answer.status == 400
    assert json.loads(answer.body)["code"] == 3


def test_an_unreadable_request_does_not_affect_later_ones(
    backend: Backend, new_event: Callable[..., Event], account: str
) -> None:
    # A known field number with another wire type, which both parsers skip.
    odd = request([span(new_event())]).SerializeToString() + b"\x0d\x00\x00\x00\x00"
    answers = [backend.export(body=odd, key=account), backend.export(span(new_event()), key=account)]
    assert answers[0].status == 200
    assert answers[1].rejected == 0


def test_logs_and_metrics_are_rejected_with_a_hint(backend: Backend) -> None:
    for path in ("/v1/logs", "/v1/metrics"):
        answer = backend.http(path, b"x", {"content-type": "application/x-protobuf"})
        assert answer.status == 404
        assert "/v1/traces" in answer.json["error"]["message"]


def test_grpc_rejects_with_the_corresponding_status_codes(backend: Backend, new_event: Callable[..., Event]) -> None:
    body = request([span(new_event())]).SerializeToString()
    with grpc.insecure_channel(backend.grpc_address) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        for code, sent, key in (
            (grpc.StatusCode.UNAUTHENTICATED, body, ""),
            (grpc.StatusCode.UNAUTHENTICATED, body, "ip-not-a-key-of-this-server"),
            (grpc.StatusCode.INVALID_ARGUMENT, b"\x0a\xff\xff", backend.key),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, bytes(17 * 2**20), backend.key),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                export(sent, metadata=(("authorization", f"Bearer {key}"),), timeout=30)
            assert raised.value.code() is code


def test_unknown_protobuf_fields_are_skipped_and_not_stored(
    backend: Backend, new_event: Callable[..., Event], account: str
) -> None:
    made = span(new_event())
    unknown = b"\xfa\x3f" + bytes([len(CANARY)]) + CANARY.encode()
    made.MergeFromString(unknown)
    assert backend.export(made, key=account).rejected == 0
    stored = json.dumps(backend.events(account), default=str)
    assert CANARY not in stored


def test_the_invalid_spans_cover_every_field() -> None:
    changed = json_format.MessageToJson(request([span_of(change_span) for _, change_span in INVALID]))
    missing = [field.key for field in FIELDS if field.presence != "opt_in" and field.key not in changed]
    assert not missing
    assert TAG_PREFIX in changed


def span_of(change_span: Callable[[Span], object]) -> Span:
    made = Span(start_time_unix_nano=START_NS)
    change_span(made)
    return made
