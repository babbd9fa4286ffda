"""A small request is accepted without the store only if the store would accept each of its spans, unchanged."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.backend.test_rejections import INVALID
from tests.kit.any_event import any_event
from tests.kit.backend import Backend, request, set_attribute, span
from tests.kit.events import START_NS, event, events

from infraprism.backend.ingest import checked_events
from infraprism.backend.ingest.otlp_requests import parse_protobuf
from infraprism.schema import FIELDS, Event
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS
from infraprism.schema.otlp_encoder import request_bytes, span_bytes

NewEvent = Callable[..., Event]
_LATEST_MS = START_NS // 1_000_000 + 86_400_000
_VALUES = (
    True,
    False,
    0,
    1,
    -1,
    150,
    2**33,
    2**62,
    0.0,
    1.0,
    b"",
    b"x",
    "",
    "0",
    "1",
    "0.10",
    "0.0065",
    "x",
    "a b",
    "é",
)
"""Valid for some fields, in some of these types."""


def _checked(*spans: Span, usage_detail: bool = True) -> checked_events.CheckedEvents | None:
    body = request(spans).SerializeToString()
    return checked_events.checked_events(body, _LATEST_MS, usage_detail=usage_detail)


@given(any_event())
def test_what_our_exporter_sends_is_accepted_unchanged(made: Event) -> None:
    encoded = span_bytes(made, usage_detail=True)
    found = checked_events.checked_events(request_bytes([encoded]), 2**62, usage_detail=True)
    is_storable = made.trace_id and made.span_id and made.timestamp_ns // 1_000_000 >= EARLIEST_TIMESTAMP_MS
    assert (found and found.spans) == (encoded if is_storable else None)


@pytest.mark.parametrize(("reason", "change"), INVALID)
def test_a_span_that_the_store_rejects_is_left_to_it(reason: str, change: Callable[[Span], object]) -> None:
    made = span(event(), usage_detail=True)
    change(made)
    if reason == "bad_time" and made.start_time_unix_nano > START_NS:
        made.start_time_unix_nano = max(made.start_time_unix_nano, (_LATEST_MS + 1) * 1_000_000)
    assert _checked(made) is None
    assert _checked(span(event(2)), made) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.resource_spans[0].resource.attributes.add(key="x"),
        lambda made: setattr(made.resource_spans[0], "schema_url", "x"),
        lambda made: setattr(made.resource_spans[0].scope_spans[0], "schema_url", "x"),
        lambda made: setattr(made.resource_spans[0].scope_spans[0].scope, "name", "other"),
        lambda made: setattr(made.resource_spans[0].scope_spans[0].scope, "version", "a b"),
        lambda made: made.resource_spans[0].scope_spans[0].scope.attributes.add(key="x"),
        lambda made: made.resource_spans[0].scope_spans[0].ClearField("spans"),
        lambda made: [made.resource_spans.add() for _ in range(40)],
        lambda made: [made.resource_spans[0].scope_spans.add() for _ in range(40)],
    ],
)
def test_a_request_with_anything_else_is_left_to_the_store(change: Callable[[Any], object]) -> None:
    made = request([span(event())])
    assert checked_events.checked_events(made.SerializeToString(), _LATEST_MS, usage_detail=True)
    change(made)
    assert checked_events.checked_events(made.SerializeToString(), _LATEST_MS, usage_detail=True) is None


def test_an_unusual_encoding_is_left_to_the_store() -> None:
    body = request([span(event())]).SerializeToString()
    assert checked_events.checked_events(body[:-1], _LATEST_MS, usage_detail=True) is None
    # A resource twice: parsers merge it, each in its own way.
    inner = b"\x0a\x00\x0a\x00" + body[body.index(b"\x12") :]
    assert checked_events.checked_events(b"\x0a" + bytes((len(inner) & 127 | 128, len(inner) >> 7)) + inner, 2**62, usage_detail=True) is None  # fmt: skip  # noqa: E501


def test_a_large_request_is_left_to_the_store() -> None:
    most = checked_events.MAX_EVENTS
    assert _checked(*map(span, events(most)))
    assert _checked(*map(span, events(most + 1))) is None
    assert checked_events.inflated(gzip.compress(bytes(checked_events.MAX_BYTES))) is not None
    assert checked_events.inflated(gzip.compress(bytes(checked_events.MAX_BYTES + 1))) is None
    for invalid in (b"", b"x", gzip.compress(b"x")[:-1], gzip.compress(b"x") + b"x"):
        assert checked_events.inflated(invalid) is None


def test_opt_in_fields_are_kept_only_with_the_permission_of_the_account() -> None:
    made = span(event(reasoning_tokens=64), usage_detail=True)
    with_detail, without = _checked(made), _checked(made, usage_detail=False)
    assert with_detail
    assert without
    assert b"reasoning_tokens" in with_detail.spans
    assert b"usage" not in without.spans


def test_what_is_not_part_of_an_event_is_not_kept() -> None:
    made = span(event())
    made.parent_span_id, made.flags, made.dropped_attributes_count = b"canary-1", 1, 7
    body = request([made]).SerializeToString() + b"\xa2\x06\x08canary-2"  # an unknown field
    found = checked_events.checked_events(body, _LATEST_MS, usage_detail=True)
    assert found
    assert found.spans == span_bytes(event())
    assert found.as_request == parse_protobuf(request_bytes([span_bytes(event())])).events


def test_the_store_accepts_what_is_accepted_here_and_stores_the_same(backend: Backend, new_event: NewEvent) -> None:
    chance = random.Random(19)
    keys = [*(field.key for field in FIELDS if field.kind != "tags"), "infraprism.tags.a", "infraprism.tags.B", "x"]
    accepted: list[Span] = []
    tried = 4000
    for _ in range(tried):
        made = span(new_event(timestamp_ns=time.time_ns()), **{chance.choice(keys): None})
        if chance.random() < 0.8:
            key = chance.choice(keys)
            kept = [pair for pair in made.attributes if pair.key != key]
            del made.attributes[:]
            made.attributes.extend(kept)
            set_attribute(made, key, chance.choice(_VALUES))
        if _checked_now(made):
            accepted.append(made)
    assert tried / 20 < len(accepted) < tried / 2
    by_store, by_log = backend.add_account(usage_detail=True), backend.add_account(usage_detail=True)
    assert backend.export(*accepted, key=by_store).rejected == 0
    most = checked_events.MAX_EVENTS
    for start in range(0, len(accepted), most):
        assert backend.export(*accepted[start : start + most], key=by_log).rejected == 0
    found = backend.events(by_store)
    assert len(found) == min(len(accepted), 1000)
    assert backend.events(by_log) == found


def _checked_now(made: Span) -> bool:
    body = request([made]).SerializeToString()
    return checked_events.checked_events(body, time.time_ns() // 1_000_000, usage_detail=True) is not None
