"""OTLP/HTTP and OTLP/gRPC, in protobuf and JSON, store the same events."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import Backend, request, span

from infraprism.backend.ingest.otlp_requests import parse_json
from infraprism.backend.ingest.rejections import UNREADABLE, RejectedError
from infraprism.exporter import InfraPrismSpanExporter
from infraprism.schema import Event

NewEvent = Callable[..., Event]
Send = Callable[[Backend, str, list[Span]], int]


def otlp_json(spans: list[Span]) -> bytes:
    """OTLP/JSON: the JSON mapping of protobuf, with ids in hex."""
    made = json_format.MessageToDict(request(spans))
    for one, original in zip(made["resourceSpans"][0]["scopeSpans"][0]["spans"], spans, strict=True):
        one["traceId"], one["spanId"] = original.trace_id.hex(), original.span_id.hex().upper()
    return json.dumps(made).encode()


def _grpc(backend: Backend, key: str, spans: list[Span], **options: Any) -> int:
    with grpc.insecure_channel(backend.grpc_address) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        answer = export(
            request(spans).SerializeToString(), metadata=(("authorization", f"Bearer {key}"),), timeout=30, **options
        )
    return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans


def _json(backend: Backend, key: str, spans: list[Span], **options: Any) -> int:
    answer = backend.export(body=otlp_json(spans), key=key, content_type="application/json; charset=utf-8", **options)
    assert answer.status == 200, answer.body
    return int(answer.json.get("partialSuccess", {}).get("rejectedSpans", 0))


PROTOCOLS: dict[str, Send] = {
    "protobuf": lambda backend, key, spans: backend.export(*spans, key=key).rejected,
    "protobuf, gzip": lambda backend, key, spans: backend.export(*spans, key=key, compress=True).rejected,
    "json": _json,
    "json, gzip": lambda backend, key, spans: _json(backend, key, spans, compress=True),
    "grpc": _grpc,
    "grpc, gzip": lambda backend, key, spans: _grpc(backend, key, spans, compression=grpc.Compression.Gzip),
}


def _varied(new_event: NewEvent) -> list[Event]:
    return [
        new_event(),
        new_event(success=False, error_type="rate_limit", error_code="429", cost_usd=None, cost_status="no_usage"),
        new_event(input_tokens=None, cost_usd=None, cost_status="incomplete"),
        new_event(tags={"a": "\u00fc,:'\\", "b.c": ""}, session_id="s", entity_id="\u6f22 \U0001f600"),
        new_event(entity_type=None, entity_id=None, model="invalid", provider="other", operation="embeddings"),
    ]


def test_every_protocol_and_encoding_stores_the_same(backend: Backend, new_event: NewEvent) -> None:
    events = _varied(new_event)
    stored = []
    for send in PROTOCOLS.values():
        key = backend.add_account()
        assert send(backend, key, [span(one) for one in events]) == 0
        stored.append(backend.events(key))
    assert all(found == stored[0] for found in stored)
    assert [found["id"] for found in stored[0]] == [one.id for one in reversed(events)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_and_encoding_reports_rejected_spans(
    backend: Backend, new_event: NewEvent, account: str, protocol: str
) -> None:
    spans = [span(new_event()), span(new_event(), **{"infraprism.prompt": "x"})]
    assert PROTOCOLS[protocol](backend, account, spans) == 1
    assert len(backend.events(account)) == 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_exporter_delivers_events(backend: Backend, new_event: NewEvent, account: str, protocol: str) -> None:
    events = _varied(new_event)
    endpoint = backend.url if protocol == "http/protobuf" else f"http://{backend.grpc_address}"
    exporter = InfraPrismSpanExporter(endpoint=endpoint, api_key=account, protocol=protocol)
    exporter.export_events(events)
    assert exporter.force_flush(20_000)
    exporter.shutdown()
    assert {found["id"] for found in backend.events(account)} == {one.id for one in events}


def test_the_rest_api_returns_every_field_of_an_event(backend: Backend, new_event: NewEvent, account: str) -> None:
    (event, failed) = new_event(tags={"b": "2", "a": "1"}), new_event(success=False, error_type="timeout")
    backend.export(span(event), span(failed), key=account)
    assert backend.get(f"/v1/events/{event.id}", account).json == {
        "id": event.id,
        "timestamp": event.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "model": "gpt-4o",
        "provider": "openai",
        "input_tokens": 150,
        "output_tokens": 500,
        "total_tokens": 650,
        "cost_usd": event.cost_usd,
        "cost_status": "priced",
        "latency_ms": 1200,
        "operation": "chat",
        "entity_type": "customer",
        "entity_id": "acme-corp",
        "session_id": None,
        "tags": {"a": "1", "b": "2"},
        "success": True,
        "error_type": None,
        "error_code": None,
    }
    stored_failure = backend.get(f"/v1/events/{failed.id}", account).json
    assert (stored_failure["success"], stored_failure["error_type"], stored_failure["error_code"]) == (
        False,
        "timeout",
        None,
    )


def test_usage_detail_is_stored_only_if_enabled_for_the_account(backend: Backend, new_event: NewEvent) -> None:
    event = new_event(
        cache_read_tokens=7, service_tier="flex", streamed=False, web_searches=2, time_to_first_token_ms=9
    )
    keys = [backend.add_account(), backend.add_account(usage_detail=True)]
    for key in keys:
        assert backend.export(span(event, usage_detail=True), key=key).rejected == 0
    plain, detailed = (backend.events(key)[0] for key in keys)
    assert "cache_read_tokens" not in plain
    assert detailed.items() >= plain.items()
    assert detailed["cache_read_tokens"] == 7
    assert (detailed["service_tier"], detailed["streamed"], detailed["web_searches"]) == ("flex", False, 2)
    assert detailed["reasoning_tokens"] is None


def test_an_empty_request_is_accepted(backend: Backend) -> None:
    assert backend.export(body=b"").rejected == 0
    assert backend.export(body=gzip.compress(b""), content_encoding="gzip").rejected == 0


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceSpans", "scopeSpans", "spans", "traceId", "attributes", "key", "value", "links"]),
            children,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_json_values)
def test_any_json_is_parsed_or_rejected(value: object) -> None:
    try:
        assert parse_json(json.dumps(value).encode()).events.number >= 0
    except RejectedError as error:
        assert error.rejection is UNREADABLE  # noqa: PT017  # both outcomes are valid
