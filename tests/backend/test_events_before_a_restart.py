"""An event stored before the server restarts is recognised when a later span of a gateway reports its call."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import GATEWAY, Backend, gateway_span
from tests.kit.backend import span as event_span
from tests.kit.otlp_canaries import export_request

from infraprism.schema import Event

NewEvent = Callable[..., Event]


def recent(new_event: NewEvent) -> Event:
    return new_event(timestamp_ns=time.time_ns() // 1_000_000 * 1_000_000 - 60 * 10**9)


def in_a_trace_of_its_own(event: Event, span_id: int = 0) -> Span:
    """The span of a gateway that does not continue the trace of the application."""
    made = gateway_span(event, ms=event.latency_ms - 20)
    made.trace_id = (event.trace_id + 2**64 + span_id).to_bytes(16, "big")
    made.span_id = (event.span_id + 2**40 + span_id).to_bytes(8, "big")
    made.parent_span_id = b""
    return made


def store(folder: Path, *events: Event) -> None:
    """Run a server that stores these events."""
    with Backend(folder / "data") as backend:
        assert backend.export(*map(event_span, events)).rejected == 0


def ids_after(folder: Path, *spans: Span, resent: Event | None = None) -> list[str]:
    """The ids of the stored events after the next server received these spans, and an event again."""
    with Backend(folder / "data") as backend:
        for made in spans:
            assert backend.export_requests(export_request([made], GATEWAY)).rejected == 0
        if resent is not None:
            assert backend.export(event_span(resent)).rejected == 0
        return [found["id"] for found in backend.events()]


def test_a_child_span_is_no_second_call(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    store(tmp_path, event)
    assert ids_after(tmp_path, gateway_span(event), resent=event) == [event.id]


def test_a_span_that_is_the_root_of_its_trace_is_no_second_call(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    store(tmp_path, event)
    assert ids_after(tmp_path, in_a_trace_of_its_own(event), resent=event) == [event.id]


def test_an_event_is_the_event_of_one_span_only(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    store(tmp_path, event)
    spans = [in_a_trace_of_its_own(event, number) for number in (1, 2)]
    assert len(ids_after(tmp_path, *spans, resent=event)) == 2


def test_other_counts_are_another_call(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    store(tmp_path, event)
    other = in_a_trace_of_its_own(new_event(timestamp_ns=event.timestamp_ns, input_tokens=event.input_tokens + 1))
    assert len(ids_after(tmp_path, other)) == 2


def test_an_unknown_parent_is_no_evidence(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    store(tmp_path, event)
    assert len(ids_after(tmp_path, gateway_span(event, parent_id=0x99))) == 2


def test_the_event_of_a_cleaned_span_is_not_taken_for_one_of_the_exporter(tmp_path: Path, new_event: NewEvent) -> None:
    event = recent(new_event)
    first, second = (in_a_trace_of_its_own(event, number) for number in (1, 2))
    assert len(ids_after(tmp_path, first)) == 1
    assert len(ids_after(tmp_path, second)) == 2
