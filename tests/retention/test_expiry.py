"""Expired events are deleted physically, and the sums of their days stay the same to the last digit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import update
from tests.kit.backend import request, span
from tests.kit.command import clean_environment
from tests.kit.damage import flip_a_bit
from tests.kit.events import event
from tests.kit.summed_store import DAY_MS, DAYS, FIRST_MS, SummedStore
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.deletions.holders import KeptRequests
from infraprism.backend.retention import Retention
from infraprism.backend.retention.expiry import INTERVAL_S, QUERIES_END_S, Expiry, LostSumsError
from infraprism.backend.store.aggregates.aggregates import FINALISED_FILE
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.measured_rows import MeasuredRows

_SEEDS = range(int(os.environ.get("FAULT_SEEDS", "3")))
_NOW_S = (FIRST_MS + DAYS * DAY_MS) / 1000
_RUN = """
import os, random, signal, sys, threading
from pathlib import Path
from tests.retention.test_expiry import Deployment
chooser = random.Random(int(sys.argv[2]))
deployment = Deployment(Path(sys.argv[1]))
deployment.day = int(sys.argv[3])
threading.Timer(chooser.random() * float(sys.argv[4]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    deployment.expire()
"""


class Deployment:
    """A store, its accounts, and the deletion, with clocks that the test sets. The days are numbered from the first."""

    def __init__(self, data: Path) -> None:
        self.day = 0
        self.seconds = 0.0
        self._accounts = Accounts(data / "accounts.sqlite")
        self.ids = {account.plan: account.id for account in self._accounts.all()}
        self.retention = Retention(self._accounts.database, lambda: _NOW_S + self.day * DAY_MS / 1000)
        self.database = EmbeddedDatabase(data / "store", computes_aggregates=False)
        self.forgotten: list[str] = []
        self.expiry = Expiry(
            self.database,
            self.retention,
            should_stop=lambda: False,
            clock=lambda: self.seconds,
            forget=lambda account_id, _: self.forgotten.append(account_id),
        )

    def set_plan(self, account_id: str, plan: str, days: int | None = None) -> None:
        change = update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(plan=plan, retention_days=days)
        self._accounts.database.run(change)
        self.retention = Retention(self._accounts.database, self.retention.clock)  # without what is cached

    def expire(self) -> None:
        """Finalise, wait until no query reads the events, and delete them."""
        self.expiry.check()
        assert self.expiry.work() in (QUERIES_END_S, INTERVAL_S)
        self.seconds += QUERIES_END_S
        assert self.expiry.work() == INTERVAL_S

    def read(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.database.read(sql, parameters)]

    def sums(self) -> list[dict[str, Any]]:
        """Exact sums of each day of all accounts."""
        found = []
        for plan, account_id in sorted(self.ids.items()):
            for dimensions in (("model",), ("entity_type", "entity_id")):
                request = MeasuredRows(account_id, dimensions=dimensions, time_unit="day")
                rows = self.database.aggregates.relation(request, measured_rows)
                names = ", ".join(("time", *dimensions))
                found += [
                    {"plan": plan, **json.loads(row)}
                    for row in self.database.read(
                        f"SELECT {names}, sum(m.calls) AS calls, toString(sum(m.total_cost)) AS cost,"
                        f" sum(m.input_tokens) AS tokens FROM {rows.sql} AS m GROUP BY {names} ORDER BY {names}",
                        rows.parameters,
                    )
                ]
        return found

    def stored(self, plan: str) -> list[str]:
        """The days of the events of an account that are stored."""
        rows = self.read(
            "SELECT DISTINCT toString(toDate(timestamp)) AS day FROM events WHERE account = {account:String}"
            " ORDER BY day",
            account=self.ids[plan],
        )
        return [row["day"] for row in rows]

    def close(self) -> None:
        self.database.close()
        self._accounts.close()


def _day(number: int) -> str:
    return str(datetime.fromtimestamp((FIRST_MS + number * DAY_MS) / 1000, UTC).date())


def _fill(data: Path) -> None:
    """Events of four days in accounts of three plans."""
    (data / "store").mkdir(parents=True)
    accounts = Accounts(data / "accounts.sqlite")
    ids = [accounts.add(plan=plan).id for plan in ("free", "growth", "self_hosted")]
    accounts.close()
    with SummedStore(data) as store:
        for seed, account_id in enumerate(ids):
            store.insert(seed, 200, account_id)


@contextmanager
def _opened(data: Path) -> Iterator[Deployment]:
    deployment = Deployment(data)
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _fill(tmp_path / "data")
    return tmp_path / "data"


def test_each_account_loses_the_events_of_its_own_period_and_keeps_all_sums(data: Path) -> None:
    every = [_day(number) for number in range(DAYS)]
    with _opened(data) as deployment:
        before = deployment.sums()
        for day in (4, 5, 7, 8):  # four days after the last event the first day of the plan of 7 days expires
            deployment.day = day
            deployment.expire()
            assert deployment.stored("free") == every[min(DAYS, day - 3) :]
            assert deployment.stored("growth") == deployment.stored("self_hosted") == every
            assert deployment.sums() == before
        deployment.day = 100
        deployment.expire()
        assert (deployment.stored("growth"), deployment.stored("self_hosted")) == ([], every)
        assert deployment.sums() == before
    with _opened(data) as deployment:
        assert deployment.sums() == before


def test_events_are_not_deleted_while_a_query_may_read_them(data: Path) -> None:
    with _opened(data) as deployment:
        deployment.day = 8
        assert deployment.expiry.work() == QUERIES_END_S
        deployment.seconds = QUERIES_END_S - 1
        assert deployment.expiry.work() == QUERIES_END_S
        assert deployment.stored("free")
        deployment.seconds = QUERIES_END_S
        assert deployment.expiry.work() == INTERVAL_S
        assert not deployment.stored("free")


def test_what_is_left_outside_of_the_table_is_deleted_after_the_events_and_after_a_start(data: Path) -> None:
    with _opened(data) as deployment:
        deployment.day = 5
        deployment.expire()
        assert deployment.ids["free"] in deployment.forgotten
        deployment.forgotten.clear()
        deployment.expire()
        assert deployment.forgotten == []
        deployment.day = 6
        deployment.expire()
        assert deployment.ids["free"] in deployment.forgotten
    with _opened(data) as deployment:
        deployment.day = 6
        deployment.expire()
        assert deployment.ids["free"] in deployment.forgotten


def test_expired_spans_that_the_store_had_rejected_are_deleted(tmp_path: Path) -> None:
    spans = [span(event(number, timestamp_ns=number * DAY_MS * 10**6)) for number in (18_300, 18_301)]
    for name, kept in (("acc_1-1-1", spans), ("acc_1-1-2", spans[:1]), ("acc_2-1-3", spans)):
        (tmp_path / f"{name}.otlp").write_bytes(request(kept).SerializeToString())
    KeptRequests(tmp_path).delete_before("acc_1", 18_301 * DAY_MS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acc_1-1-1.otlp", "acc_2-1-3.otlp"]
    left = ExportTraceServiceRequest.FromString((tmp_path / "acc_1-1-1.otlp").read_bytes())
    assert list(left.resource_spans[0].scope_spans[0].spans) == spans[1:]
    assert (tmp_path / "acc_2-1-3.otlp").read_bytes() == request(spans).SerializeToString()


def test_a_query_that_needs_a_damaged_day_is_refused_and_others_are_answered(data: Path) -> None:
    with _opened(data) as deployment:
        deployment.day = 8
        deployment.expire()
        paths = deployment.read("SELECT path FROM system.parts WHERE table = 'sums_by_day_0' AND active")
        account_id = deployment.ids["free"]
    flip_a_bit(Path(paths[0]["path"]) / "data.bin")
    with closing(Accounts(data / "accounts.sqlite")) as accounts:
        key = accounts.add_key(account_id)
    with TimedBackend(data, f"{_day(DAYS + 8)}T00:00", key=None) as backend:
        answer = backend.get("/v1/analytics/costs", key, start_date=_day(0), end_date=_day(8))
        assert (answer.status, answer.json["error"]["code"]) == (503, "sums_unknown")
        assert _day(0) in answer.json["error"]["message"]
        after = backend.get("/v1/analytics/costs", key, start_date=_day(4), end_date=_day(8))
        assert (after.status, after.json["summary"]["total_events"]) == (200, 0)


def test_a_longer_period_restores_nothing_and_a_shorter_one_deletes(data: Path) -> None:
    with _opened(data) as deployment:
        before = deployment.sums()
        deployment.day = 5
        deployment.expire()
        kept = deployment.stored("free")
        assert kept == [_day(2), _day(3)]
        since = FIRST_MS + 2 * DAY_MS
        free = deployment.ids["free"]
        deployment.set_plan(free, "scale")
        assert (deployment.retention.days(free), deployment.retention.cutoff_ms(free)) == (365, since)
        deployment.expire()
        assert deployment.stored("free") == kept
        deployment.set_plan(free, "enterprise", 5)
        assert deployment.retention.cutoff_ms(free) == since + 2 * DAY_MS
        deployment.expire()
        assert deployment.stored("free") == []
        assert deployment.sums() == before


def test_nothing_is_finalised_while_rows_of_an_earlier_time_are_damaged(data: Path) -> None:
    with _opened(data) as deployment:
        deployment.day = 8
        paths = deployment.read("SELECT path FROM system.parts WHERE table = 'events' AND active")
        flip_a_bit(Path(paths[0]["path"]) / "data.bin")
        deployment.database.verify_all(lambda _done, _all: None)
        assert deployment.database.status().damaged
        assert deployment.expiry.work() == QUERIES_END_S
        assert deployment.database.aggregates.finalised_before(deployment.ids["free"]) is None


def test_a_server_without_the_finalised_days_does_not_start(data: Path) -> None:
    with _opened(data) as deployment:
        deployment.day = 8
        deployment.expire()
    (data / FINALISED_FILE).unlink()
    with _opened(data) as deployment, pytest.raises(LostSumsError):
        deployment.expiry.check()


def test_no_session_and_no_event_id_outlives_the_events(data: Path) -> None:
    with _opened(data) as deployment:
        session = deployment.read("SELECT session_id FROM events WHERE session_id != '' LIMIT 1")[0]["session_id"]
        deployment.retention.set_days(deployment.ids["self_hosted"], 1)
        deployment.day = 100
        deployment.expire()
        assert deployment.read("SELECT count() AS n FROM events") == [{"n": 0}]
        tables = [row["name"] for row in deployment.read("SELECT name FROM system.tables WHERE database = 'default'")]
        assert "sums_by_day_0" in tables
        for name in tables:
            columns = deployment.read(
                f"SELECT name, type FROM system.columns WHERE database = 'default' AND table = '{name}'"
            )
            texts = [column["name"] for column in columns if "String" in column["type"] and "Map" not in column["type"]]
            for column in texts:
                found = deployment.read(f"SELECT count() AS n FROM {name} WHERE toString({column}) = '{session}'")
                assert (name, column, found) == (name, column, [{"n": 0}])
            assert name == "events" or "id" not in {column["name"] for column in columns}


def _killed(data: Path, seed: int, day: int, within_s: float) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, str(data), str(seed), str(day), str(within_s)],
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    assert ended.returncode == -9, ended.stderr


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_kill_during_the_deletion_changes_no_sum(data: Path, seed: int) -> None:
    chooser = random.Random(seed)
    with _opened(data) as deployment:
        before = deployment.sums()
    for day in (5, 8, 100):
        _killed(data, chooser.randrange(10**6), day, 1.5)
        with _opened(data) as deployment:
            deployment.day = day
            assert deployment.sums() == before
    with _opened(data) as deployment:
        deployment.day = 100
        deployment.expire()
        assert deployment.sums() == before
        assert (deployment.stored("free"), deployment.stored("growth")) == ([], [])
        assert len(deployment.stored("self_hosted")) == DAYS
        assert not deployment.database.status().damaged
