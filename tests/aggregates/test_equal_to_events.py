"""Answers from aggregates equal the events to the last digit, whatever happened to the events before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from tests.kit.summed_store import ACCOUNTS, DAY_MS, FIRST_MS, SummedStore, every_cube

from infraprism.backend.store.measured_rows import MeasuredRows


def test_the_answers_of_each_cube_are_read_from_aggregates(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 500)
        assert not any(map(store.uses_aggregates, every_cube()))
        store.wait()
        assert all(map(store.uses_aggregates, every_cube()))
        store.check()


def test_an_insert_is_read_from_the_events_as_soon_as_it_has_returned(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.wait()
        store.insert(2, 1, first_ms=FIRST_MS + DAY_MS, length_ms=1000)
        assert store.uses_aggregates(MeasuredRows(ACCOUNTS[0]))
        assert not store.uses_aggregates(MeasuredRows(ACCOUNTS[0], FIRST_MS + DAY_MS, FIRST_MS + 2 * DAY_MS))
        store.check()


def test_a_day_is_not_published_while_a_statement_that_changes_it_is_running(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        with store.aggregates.changing(ACCOUNTS[0], FIRST_MS, FIRST_MS):
            store.wait(2_000)
            first_day = MeasuredRows(ACCOUNTS[0], FIRST_MS, FIRST_MS + DAY_MS)
            assert not store.uses_aggregates(first_day)
            assert store.uses_aggregates(MeasuredRows(ACCOUNTS[0], FIRST_MS + DAY_MS))
        store.wait()
        assert store.uses_aggregates(first_day)


class Changing:
    """A client that calls `change` after the first statement that stores sums by quarter-hour."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.change: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def command(self, sql: str) -> object:
        found = self._client.command(sql)
        if sql.startswith("INSERT INTO sums_by_quarter_hour") and self.change is not None:
            change, self.change = self.change, None
            change()
        return found


def test_a_day_that_changes_during_its_computation_is_not_published(tmp_path: Path) -> None:
    clients: list[Changing] = []

    def wrapped(client: Client) -> Changing:
        clients.append(Changing(client))
        return clients[0]

    with SummedStore(tmp_path, wrapped=wrapped) as store:
        store.insert(1, 300)
        clients[0].change = lambda: store.insert(2, 1, first_ms=FIRST_MS, length_ms=1000)
        store.wait()
        assert clients[0].change is None
        assert not store.uses_aggregates(MeasuredRows(ACCOUNTS[0], FIRST_MS, FIRST_MS + DAY_MS))
        assert store.uses_aggregates(MeasuredRows(ACCOUNTS[0], FIRST_MS + DAY_MS))
        store.check()
