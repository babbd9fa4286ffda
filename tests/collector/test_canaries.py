"""The real collector forwards, stores and logs no content."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector import payloads
from tests.collector.conftest import CALL, QUICK, Route
from tests.kit import search
from tests.kit.collector import PROTOCOLS, Collector, eventually
from tests.kit.otlp_canaries import CANARY, PROMPT, export_request, fill, span
from tests.kit.otlp_sink import OtlpSink, Reply

_KINDS = 8
"""Types of values where not all are tried: the other protocols only carry them to the same statements."""
HEADERS = {
    "x-api-key": f"{CANARY}-key",
    "authorization": f"Bearer {CANARY}-token",
    "baggage": f"prompt={CANARY}-baggage",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": f"vendor={CANARY}-state",
    "user-agent": f"{CANARY}-agent",
}


def _texts(message: Message) -> int:
    """How many texts of a message hold the canary."""
    return message.SerializeToString().count(CANARY.encode())


def test_the_canaries_reach_every_place_of_a_span() -> None:
    request = ExportTraceServiceRequest.FromString(payloads.spans()[0].SerializeToString())
    (whole,) = request.resource_spans
    (group,) = whole.scope_spans
    (one,) = group.spans
    for place in (whole.resource, group.scope, one, one.events[0], one.links[0], one.status, one.attributes[-1]):
        assert _texts(place) > 0
    for name in ("name", "trace_state"):
        assert CANARY in getattr(one, name)
    assert CANARY in whole.schema_url
    assert CANARY in group.schema_url
    assert {"tags", "clean", "block"} < set(payloads.SCRATCH)
    bare = span(CALL)
    fill(bare)
    assert _texts(bare) > 100


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_canary_arrives_or_is_written_anywhere(route: Route, protocol: str) -> None:
    before = len(route.sink.requests)
    kinds = None if protocol == "http/protobuf" else _KINDS
    for request in payloads.everything(kinds):
        taken, answer = route.collector.send(request, protocol, HEADERS)
        assert taken, answer
        assert not search.find_canaries([CANARY], answer)
    route.through()  # waits until all that came before has arrived
    sent = sum(
        len(group.spans) for request in payloads.spans(kinds) for r in request.resource_spans for group in r.scope_spans
    )
    arrived = [one for request in route.sink.requests[before:] for one in request.spans()]
    # A span with another operation, or an incomplete event, is no call; all others arrive without the canary.
    assert sent * 0.85 < len(arrived) <= sent + 1
    assert not search.find_canaries([CANARY], route.sink.seen())
    assert not [path for path, data in search.files(route.collector.queue) if search.find_canaries([CANARY], data)]
    assert not search.find_canaries([CANARY], route.collector.log().encode())


def test_the_gate_drops_no_cleaned_span(route: Route) -> None:
    for request in payloads.spans(_KINDS):
        route.collector.send(request)
    route.through()  # waits until all that came before has arrived
    assert route.collector.metric("otelcol_processor_filter_spans_filtered", filter="filter/gate") == 0
    assert route.collector.metric("otelcol_processor_filter_spans_filtered", filter="filter/drop_events") > 0


def test_an_unreadable_request_is_refused_and_nothing_of_it_is_logged(route: Route) -> None:
    whole = export_request([span({**CALL, "gen_ai.prompt": PROMPT})]).SerializeToString()
    broken = {
        "application/x-protobuf": whole[: len(whole) // 2] + b"\xff" * 20,
        "application/json": b'{"resourceSpans": [{"scopeSpans": [{"spans": "' + PROMPT.encode() + b'"}]}]}',
        f"text/{CANARY}": whole,
    }
    for content_type, body in broken.items():
        assert not route.collector.post("/v1/traces", body, content_type)[0]
    assert not route.collector.post(f"/v1/{CANARY}", whole, "application/x-protobuf", HEADERS)[0]
    assert not search.find_canaries([CANARY], route.collector.log().encode())


def test_the_queue_on_disk_has_redacted_spans_only_also_after_a_crash(tmp_path: Path) -> None:
    with OtlpSink() as sink:
        sink.answer_by(lambda *_: Reply(status=503))
        with Collector(tmp_path, sink.endpoint, overlay=QUICK) as collector:
            for request in payloads.everything(_KINDS):
                assert collector.send(request, headers=HEADERS)[0]
            assert eventually(lambda: bool(sink.requests))
            collector.kill()
        files = list(search.files(collector.queue))
        assert sum(data.count(b"gpt-4o-mini") for _, data in files) > 1000
        assert not [path for path, data in files if search.find_canaries([CANARY], data)]
        assert not search.find_canaries([CANARY], collector.log().encode())
        assert not search.find_canaries([CANARY], sink.seen())
