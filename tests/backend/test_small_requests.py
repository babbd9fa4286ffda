"""Requests of few events are acknowledged by the log, and queries see them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.asynchronous import in_event_loop
from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.query_pool import QueryPool
from infraprism.backend.ingest.checked_events import MAX_EVENTS
from infraprism.schema import Event

NewEvent = Callable[..., Event]


def test_each_query_after_an_acknowledgement_sees_the_event(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    def send(**changes: Any) -> Event:
        made = new_event(**changes)
        assert backend.export(span(made), key=account).rejected == 0
        return made

    all_days = {"start_date": "2020-01-01"}
    for number in range(5):
        assert backend.get(f"/v1/events/{send().id}", account).status == 200
        made = send()
        assert backend.events(account)[0]["id"] == made.id
        send(entity_id=f"customer-{number}")
        entities = backend.get("/v1/entities", account).json["data"]
        assert f"customer-{number}" in {one["entity_id"] for one in entities}
        send()
        costs = backend.get("/v1/analytics/costs", account, **all_days).json
        assert costs["summary"]["total_events"] == 4 * (number + 1)


def test_an_event_counts_once_whether_a_small_or_a_large_request_is_sent_first(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    made = [new_event() for _ in range(2 * MAX_EVENTS)]
    first, second = made[:MAX_EVENTS], made[MAX_EVENTS:]
    assert backend.export(*map(span, first[:3]), key=account).rejected == 0
    assert backend.export(*map(span, made), key=account).rejected == 0
    assert backend.export(*map(span, second[:3]), key=account).rejected == 0
    assert {one["id"] for one in backend.events(account)} == {one.id for one in made}
    assert len(backend.events(account)) == len(made)


def test_accounts_share_the_log_and_not_their_events(backend: Backend, new_event: NewEvent) -> None:
    keys = [backend.add_account() for _ in range(3)]
    made = {key: [new_event() for _ in range(3)] for key in keys}
    for number in range(3):
        for key in keys:
            assert backend.export(span(made[key][number]), key=key).rejected == 0
    for key in keys:
        assert {one["id"] for one in backend.events(key)} == {one.id for one in made[key]}


def test_an_acknowledged_event_is_there_after_the_server_was_killed_at_once(tmp_path: Path) -> None:
    backend = Backend(tmp_path / "data")
    assert backend.export(span(event(1)), span(event(2))).rejected == 0
    backend.stop(signal.SIGKILL)
    assert list((tmp_path / "data" / "log").glob("*.log"))
    with Backend(tmp_path / "data") as backend:
        assert not list((tmp_path / "data" / "log").glob("*.log"))
        assert {one["id"] for one in backend.events()} == {event(1).id, event(2).id}
        assert b"infraprism_log_unapplied_events 0.0" in backend.get("/metrics").body


def test_the_log_is_empty_when_the_server_has_stopped(tmp_path: Path) -> None:
    backend = Backend(tmp_path / "data")
    assert backend.export(span(event(1))).rejected == 0
    assert backend.stop() == (0, "")
    assert not list((tmp_path / "data" / "log").glob("*.log"))
    with Backend(tmp_path / "data") as backend:
        assert [one["id"] for one in backend.events()] == [event(1).id]


@in_event_loop
async def test_a_query_whose_events_are_not_in_the_store_in_time_is_answered_with_503() -> None:
    async def is_complete(account_id: str) -> bool:
        return account_id == "acc_1"

    pool = QueryPool(is_complete=is_complete)
    assert await pool.run("acc_1", lambda: b"found") == b"found"
    with pytest.raises(ApiError) as error:
        await pool.run("acc_2", lambda: b"not all")
    assert (error.value.status, error.value.code) == (503, "store_unavailable")
    assert error.value.retry_after_s
    await pool.close(lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_does_not_load_packages_for_data_frames(backend: Backend) -> None:
    mapped = Path(f"/proc/{backend.process.pid}/maps").read_text()
    assert "_chdb" in mapped
    assert "arrow" not in mapped
    assert "pandas" not in mapped
