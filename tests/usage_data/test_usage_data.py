"""Usage data has no value of a request, is bounded, and is deleted when it expires."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.kit.command import infraprism
from tests.kit.postgresql import postgresql
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.retention.periods import ACTIONS, ERRORS, REQUESTS
from infraprism.backend.usage_data.error_log import ErrorLog
from infraprism.backend.usage_data.names import FEATURES, PAGES
from infraprism.backend.usage_data.usage_data import MAX_WAITING, USAGE_FILE, Request, UsageData

START_S = datetime(2026, 4, 1, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400


class _Clock:
    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def usage(tmp_path: Path, clock: _Clock) -> Iterator[UsageData]:
    found = UsageData(RelationalDatabase(tmp_path / USAGE_FILE), clock)
    yield found
    found.close()


def _request(usage: UsageData, account: str = "acc_1", route: str = "/v1/events", status: int = 200) -> Request:
    return Request(account, usage.now(), "key_1", "GET", route, status, 12)


def _rows(usage: UsageData, account: str = "acc_1") -> dict[str, tuple[int, str | None]]:
    return {one.kept.table: (one.rows, one.oldest) for one in usage.held(account)}


def test_requests_and_actions_are_held_by_account(usage: UsageData) -> None:
    usage.record_request(_request(usage))
    usage.record_request(_request(usage))
    usage.record_request(_request(usage, status=404))
    usage.record_request(_request(usage, "acc_2", "/v1/me"))
    usage.record_page_view("acc_1", "costs")
    assert _rows(usage) == {"usage_actions": (2, "2026-04-01"), "usage_requests": (3, "2026-04-01T12:00:00.000Z")}
    assert _rows(usage, "acc_2") == {"usage_actions": (0, None), "usage_requests": (1, "2026-04-01T12:00:00.000Z")}


def test_counts_of_several_writes_are_added(usage: UsageData, tmp_path: Path) -> None:
    for _ in range(3):
        usage.record_page_view("acc_1", "costs")
        usage.record_error("place", "ERROR", "503")
        usage.flush()
    with closing(sqlite3.connect(tmp_path / USAGE_FILE)) as database:
        assert database.execute("SELECT kind, name, count FROM usage_actions").fetchall() == [("page", "costs", 3)]
    assert [(one["place"], one["code"], one["count"]) for one in usage.errors()] == [("place", "503", 3)]


@pytest.mark.parametrize("kept", [REQUESTS, ACTIONS, ERRORS], ids=lambda kept: kept.table)
def test_expired_rows_are_excluded_at_once_and_then_deleted(
    usage: UsageData, clock: _Clock, tmp_path: Path, kept: object
) -> None:
    usage.record_request(_request(usage))
    usage.record_error("place", "ERROR")
    usage.flush()
    assert kept in (REQUESTS, ACTIONS, ERRORS)
    table, days = getattr(kept, "table"), getattr(kept, "days")  # noqa: B009  # a named tuple of the table of periods

    def held() -> int:
        return len(usage.errors()) if table == "usage_errors" else _rows(usage)[table][0]

    def stored() -> int:
        with closing(sqlite3.connect(tmp_path / USAGE_FILE)) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    clock.now_s = START_S + days * DAY_S
    usage.delete_expired()
    assert (held(), stored()) == (1, 1)
    clock.now_s += DAY_S
    assert (held(), stored()) == (0, 1)
    usage.delete_expired()
    assert stored() == 0


def test_memory_is_bounded_and_what_does_not_fit_is_counted(usage: UsageData) -> None:
    for _ in range(MAX_WAITING + 3):
        usage.record_request(_request(usage, route="/v1/me"))
    for number in range(MAX_WAITING + 2):
        usage.record_error("place", str(number))
    assert usage.lost == 5
    assert _rows(usage)["usage_requests"][0] == MAX_WAITING


def test_what_cannot_be_written_is_counted_as_lost(
    usage: UsageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage.record_request(_request(usage, route="/v1/me"))
    usage.record_error("place", "ERROR")
    with closing(sqlite3.connect(tmp_path / USAGE_FILE)) as database:
        database.execute("DROP TABLE usage_requests")
    with pytest.raises(DatabaseUnavailableError):
        usage.flush()
    assert usage.lost == 2
    monkeypatch.undo()


def test_an_account_that_turned_counts_off_has_none_also_after_a_restart(tmp_path: Path, clock: _Clock) -> None:
    with closing(UsageData(RelationalDatabase(tmp_path / USAGE_FILE), clock)) as usage:
        usage.record_page_view("acc_1", "costs")
        usage.set_counts_actions("acc_1", enabled=False)
        assert _rows(usage)["usage_actions"] == (0, None)
    with closing(UsageData(RelationalDatabase(tmp_path / USAGE_FILE), clock)) as usage:
        usage.record_page_view("acc_1", "costs")
        usage.record_request(_request(usage))
        assert _rows(usage)["usage_actions"] == (0, None)
        assert _rows(usage)["usage_requests"][0] == 1
        usage.set_counts_actions("acc_1", enabled=True)
        usage.record_page_view("acc_1", "costs")
        assert _rows(usage)["usage_actions"][0] == 1


def test_everything_about_an_account_is_deleted(usage: UsageData, tmp_path: Path) -> None:
    for account in ("acc_1", "acc_2"):
        usage.record_request(_request(usage, account))
    assert usage.count_before("acc_1", int(START_S * 1000) + 1) == 1
    assert usage.count_before("acc_1", int(START_S * 1000)) == 0
    assert usage.count_before("acc_1", 2**60) == 2
    assert usage.delete_account("acc_1", with_settings=False) == {"usage_requests": 1, "usage_actions": 1}
    usage.set_counts_actions("acc_1", enabled=True)
    assert usage.delete_account("acc_1", with_settings=True)["usage_settings"] == 1
    assert usage.count_before("acc_1", 2**60) == 0
    assert _rows(usage, "acc_2")["usage_requests"][0] == 1
    usage.close()
    assert b"acc_1" not in (tmp_path / USAGE_FILE).read_bytes()


def test_a_logged_error_has_its_place_and_no_value(usage: UsageData) -> None:
    log = logging.Logger("infraprism.backend.some")  # noqa: LOG001  # not one of the process
    log.addHandler(ErrorLog(usage))
    log.warning("the value %s of a request", "secret")
    log.info("not an error")
    (error,) = usage.errors()
    assert (error["class"], error["count"]) == ("WARNING", 1)
    assert error["place"].startswith("infraprism.backend.some.")
    assert "secret" not in json.dumps(error)


def test_usage_data_is_in_postgresql_in_a_cluster(clock: _Clock) -> None:
    with postgresql() as server:
        usage = UsageData(RelationalDatabase(server.url()), clock)
        for _ in range(2):
            usage.record_request(_request(usage))
            usage.flush()
        assert _rows(usage) == {"usage_actions": (1, "2026-04-01"), "usage_requests": (2, "2026-04-01T12:00:00.000Z")}
        usage.close()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedBackend]:
    with TimedBackend(tmp_path_factory.mktemp("usage") / "data", "2026-04-01T12:00") as running:
        yield running


def test_a_server_logs_requests_without_query_id_and_address(backend: TimedBackend) -> None:
    key = backend.add_account()
    secret = "a-hidden-value"
    backend.get(f"/v1/sessions/{secret}", key)
    backend.get("/v1/events", key, entity_id=secret)
    backend.get(f"/v1/{secret}", key)
    backend.get("/v1/events", key, limit=0)
    answer = backend.get("/v1/usage-data/requests", key).json
    seen = [(one["method"], one["route"], one["status"]) for one in answer["data"]]
    assert seen[-4:] == [
        ("GET", "/v1/events", 400),
        ("none", "none", 404),
        ("GET", "/v1/events", 200),
        ("GET", "/v1/sessions/{session_id:path}", 404),
    ]
    page = backend.get("/v1/usage-data/requests", key, limit=1, before=answer["data"][1]["number"]).json
    assert page["data"] == [answer["data"][2]]
    stored = (backend.data_dir / USAGE_FILE).read_bytes()
    assert secret.encode() not in stored
    assert key.encode() not in stored
    assert not re.search(rb"127\.0\.0\.1", stored)


def test_the_answer_and_the_command_show_what_is_held(backend: TimedBackend) -> None:
    key = backend.add_account()
    backend.get("/v1/models", key)
    found = {one["table"]: one for one in backend.get("/v1/usage-data", key).json["data"]}
    assert {name: (one["rows"], one["period_days"]) for name, one in found.items()} == {
        "usage_requests": (1, 7),
        "usage_actions": (1, 90),
    }
    shown = infraprism("usage-data", environment={"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "usage_requests" in shown.stdout


def test_features_are_routes_of_the_server_and_pages_a_closed_list(backend: TimedBackend) -> None:
    paths = set(json.loads(backend.http("/openapi.json", None, {}).body)["paths"])
    assert {route.replace(":path", "") for route in FEATURES} <= paths
    assert len(set(PAGES)) == len(PAGES)
