"""A small request cannot take much time or memory of the server, whatever it expands to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.kit.backend import Backend, request, span
from tests.kit.events import event

from infraprism.backend.ingest.otlp_requests import inflate, parse_json, parse_protobuf
from infraprism.backend.ingest.rejections import RejectedError

MANY = 4_000_000


def framed(*tags: int, inner: bytes) -> bytes:
    """A message nested in fields with these tags, outermost first."""
    for tag in reversed(tags):
        length, encoded = len(inner), bytearray()
        while length > 127:
            encoded.append(length & 127 | 128)
            length >>= 7
        inner = bytes([tag, *encoded, length]) + inner
    return inner


RESOURCE_SPANS, SCOPE_SPANS, SPANS = 0x0A, 0x12, 0x12
BOMBS = {
    "resources": b"\x0a\x00" * MANY,
    "scopes": framed(RESOURCE_SPANS, inner=b"\x12\x00" * MANY),
    "spans": framed(RESOURCE_SPANS, SCOPE_SPANS, inner=b"\x12\x00" * MANY),
    "attributes of a span": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, inner=b"\x4a\x00" * MANY),
    "events of a span": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, inner=b"\x5a\x00" * MANY),
    "links of a span": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, inner=b"\x6a\x00" * MANY),
    "statuses of a span": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, inner=b"\x7a\x00" * MANY),
    "attributes of a resource": framed(RESOURCE_SPANS, 0x0A, inner=b"\x0a\x00" * MANY),
    "attributes of a scope": framed(RESOURCE_SPANS, SCOPE_SPANS, 0x0A, inner=b"\x1a\x00" * MANY),
    "names of a scope": framed(RESOURCE_SPANS, SCOPE_SPANS, 0x0A, inner=b"\x0a\x00" * MANY),
    "elements of an array": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, 0x4A, 0x12, 0x2A, inner=b"\x0a\x00" * MANY),
    "elements of a map": framed(RESOURCE_SPANS, SCOPE_SPANS, SPANS, 0x4A, 0x12, 0x32, inner=b"\x0a\x00" * MANY),
}


def many_spans(*tags: int, inner: bytes) -> bytes:
    """Spans of another scope, none of them large, each with the message in these fields."""
    return framed(RESOURCE_SPANS, SCOPE_SPANS, inner=framed(SPANS, *tags, inner=inner) * 150)


SPREAD_BOMBS = {
    "attributes of the spans": many_spans(inner=b"\x4a\x00" * 64),
    "events of the spans": many_spans(inner=b"\x5a\x00" * 64),
    "attributes of their events": many_spans(0x5A, inner=b"\x1a\x00" * 30_000),
    "attributes of their links": many_spans(0x6A, inner=b"\x22\x00" * 30_000),
    "values of their attributes": many_spans(0x4A, inner=b"\x12\x00" * 30_000),
    "arrays of their attributes": many_spans(0x4A, 0x12, inner=b"\x2a\x00" * 30_000),
    "maps in attributes of their events": many_spans(0x5A, 0x1A, 0x12, inner=b"\x32\x00" * 30_000),
    "attributes of many scopes": framed(
        RESOURCE_SPANS, inner=framed(SCOPE_SPANS, 0x0A, inner=b"\x1a\x00" * 9_000) * 500
    ),
    "entities of a resource": framed(
        RESOURCE_SPANS, inner=framed(0x0A, 0x1A, inner=b"\x1a\x00" * MANY) + framed(SCOPE_SPANS, inner=b"")
    ),
}
SPREAD_BOMBS["attributes of the spans"] *= 200
SPREAD_BOMBS["events of the spans"] *= 200
JSON_BOMBS = {
    "spans": b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 1_000_000 + b"{}]}]}]}",
    "attributes": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[' + b"{}," * 1_000_000 + b"{}]}]}]}]}",
    "arrays": b'{"resourceSpans":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
    "large": b'{"resourceSpans":[' + b" " * 5 * 2**20 + b"]}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_request_of_millions_of_empty_messages_is_rejected_before_they_are_parsed(name: str) -> None:
    with pytest.raises(RejectedError) as rejected:
        parse_protobuf(BOMBS[name])
    assert rejected.value.rejection.http_status == 413


@pytest.mark.parametrize("name", SPREAD_BOMBS)
def test_empty_messages_are_counted_over_all_parts_of_a_request(name: str) -> None:
    with pytest.raises(RejectedError) as rejected:
        parse_protobuf(SPREAD_BOMBS[name])
    assert rejected.value.rejection.http_status == 413


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_a_json_request_of_millions_of_objects_is_rejected_before_they_are_parsed(name: str) -> None:
    with pytest.raises(RejectedError) as rejected:
        parse_json(JSON_BOMBS[name])
    assert rejected.value.rejection.http_status == 413


def test_a_compressed_body_inflates_to_a_megabyte_or_to_a_hundred_times_its_size() -> None:
    assert len(inflate(gzip.compress(bytes(2**20)), 2**24)) == 2**20
    with pytest.raises(RejectedError) as rejected:
        inflate(gzip.compress(bytes(2**21)), 2**24)
    assert rejected.value.rejection.http_status == 413


def test_equal_events_compress_less_than_the_limit() -> None:
    body = request([span(event(number + 1, timestamp_ns=1_767_225_600_000_000_000)) for number in range(9000)])
    encoded = body.SerializeToString()
    assert len(encoded) > 2**21
    assert inflate(gzip.compress(encoded), 2**24) == encoded


def test_a_large_json_request_of_events_is_accepted(tmp_path: Path) -> None:
    attributes = [
        {"key": pair.key, "value": {"stringValue": pair.value.string_value or "1"}} for pair in span(event()).attributes
    ]
    spans = [{"traceId": f"{number + 1:032x}", "spanId": "01" * 8, "attributes": attributes} for number in range(2000)]
    scoped = {"scope": {"name": "infraprism"}, "spans": spans}
    assert parse_json(json.dumps({"resourceSpans": [{"scopeSpans": [scoped]}]}).encode()).events.number == 2000


@pytest.mark.parametrize("name", ["spans", "attributes of a span", "elements of an array"])
def test_the_memory_of_the_server_does_not_grow_with_what_a_request_expands_to(tmp_path: Path, name: str) -> None:
    def peak_mb() -> int:
        status = Path(f"/proc/{backend.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    with Backend(tmp_path / "data") as backend:
        assert backend.export(span(event())).rejected == 0
        before = peak_mb()
        for _ in range(4):
            assert backend.export(body=BOMBS[name], compress=True).status == 413
        assert peak_mb() - before < 100
