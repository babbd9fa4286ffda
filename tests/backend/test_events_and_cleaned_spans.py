"""A call that our exporter reports and a service behind the Collector as well counts once."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import GATEWAY, Backend, gateway_span
from tests.kit.backend import span as event_span
from tests.kit.otlp_canaries import export_request

from infraprism.schema import Event

NewEvent = Callable[..., Event]


def _send(backend: Backend, account: str, *spans: Span) -> None:
    assert backend.export_requests(export_request(list(spans), GATEWAY), key=account).rejected == 0


def test_the_event_counts_if_the_span_of_a_gateway_arrives_later(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    first, second = new_event(), new_event()
    assert backend.export(event_span(first), key=account).rejected == 0
    _send(backend, account, gateway_span(first))
    assert backend.export(event_span(second), key=account).rejected == 0
    _send(backend, account, gateway_span(second, parent_id=0x99))
    assert {found["id"] for found in backend.events(account)} == {first.id, second.id}


def test_the_span_counts_if_the_event_arrives_when_it_is_stored(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    late, other = new_event(), new_event()
    _send(backend, account, gateway_span(late))
    for _ in range(2):  # the exporter may send it again
        assert backend.export(event_span(late), event_span(other), key=account).rejected == 0
    found = backend.events(account)
    assert len(found) == 2
    assert late.id not in {one["id"] for one in found}


def test_a_later_call_is_another_one(backend: Backend, new_event: NewEvent, account: str) -> None:
    one = new_event()
    assert backend.export(event_span(one), key=account).rejected == 0
    _send(backend, account, gateway_span(one, start_ms=10_000))
    assert len(backend.events(account)) == 2


def test_events_of_another_account_are_not_compared(backend: Backend, new_event: NewEvent, account: str) -> None:
    one, other_account = new_event(), backend.add_account()
    assert backend.export(event_span(one), key=other_account).rejected == 0
    _send(backend, account, gateway_span(one))
    assert len(backend.events(account)) == 1
    assert len(backend.events(other_account)) == 1
