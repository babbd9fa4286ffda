"""Aggregates in a server and on the command line."""

from __future__ import annotations

import json
import signal
from datetime import date
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.damage import flip_a_bit, truncate
from tests.kit.events import START_NS, event
from tests.kit.summed_store import ACCOUNTS, DAY_MS, FIRST_MS, SummedStore, connect, every_cube

from infraprism.backend.account_zones import AccountZones
from infraprism.backend.accounts import Accounts
from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.store.aggregates import RelationExpiredError
from infraprism.backend.store.aggregates.cubes import UNITS, table
from infraprism.backend.store.aggregates.published import PublishedDays
from infraprism.backend.store.embedded import AGGREGATES_FILE, EmbeddedDatabase
from infraprism.backend.store.measured_rows import MeasuredRows


def published_calls(data: Path) -> int:
    """The calls of all published days."""
    days = PublishedDays(data / AGGREGATES_FILE)
    found = sum(day.calls for day in days.all())
    days.close()
    return found


def test_an_event_of_an_old_day_withdraws_its_aggregates_before_it_is_acknowledged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        assert backend.export(*(span(event(number)) for number in range(1, 1_101))).rejected == 0
        backend.stop()
    ran = infraprism("store", "rebuild-aggregates", "--data-dir", str(data))
    assert (ran.returncode, ran.stdout) == (0, "The aggregates of 1 day were computed from the events.\n")
    assert published_calls(data) == 1_100
    with Backend(data) as backend:
        in_use = infraprism("store", "rebuild-aggregates", "--data-dir", str(data))
        assert in_use.returncode == 1
        assert "stop it first" in in_use.stderr
        # More than the log of small requests takes.
        late = (span(event(number, timestamp_ns=START_NS + number)) for number in range(2_000, 2_100))
        assert backend.export(*late).rejected == 0
        backend.stop(signal.SIGKILL)
    assert published_calls(data) == 0


def test_days_are_computed_in_the_time_zone_of_their_account(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        key = backend.add_account(time_zone="Asia/Kolkata")
        assert backend.export(*(span(event(number)) for number in range(1, 1_101)), key=key).rejected == 0
        backend.stop()
    assert infraprism("store", "rebuild-aggregates", "--data-dir", str(data)).returncode == 0
    days = PublishedDays(data / AGGREGATES_FILE)
    assert {day.time_zone for day in days.all()} == {"Asia/Kolkata"}
    days.close()


def test_zones_of_accounts_are_read_again_after_half_a_minute(tmp_path: Path) -> None:
    now_s = [0.0]
    accounts = Accounts(tmp_path / "accounts.sqlite")
    zones = AccountZones(accounts.database, lambda: now_s[0])
    unknown, found = zones.of("acc_unknown"), accounts.add(time_zone="Europe/Berlin").id
    assert (unknown, zones.of(found)) == ("UTC", "UTC")
    now_s[0] = 31
    assert (zones.of("acc_unknown"), zones.of(found)) == ("UTC", "Europe/Berlin")
    accounts.close()


def test_help_of_the_command_names_what_it_deletes() -> None:
    shown = infraprism("store", "rebuild-aggregates", "--help")
    assert shown.returncode == 0
    assert "computes them again from the events" in shown.stdout


@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
def test_a_query_of_damaged_aggregates_is_planned_again_from_the_events(tmp_path: Path, damage: object) -> None:
    data = tmp_path / "data"
    (data / "store").mkdir(parents=True)
    with SummedStore(data) as store:
        store.insert(1, 6_000)
        expected = store.event_rows(MeasuredRows(ACCOUNTS[0], dimensions=("model",)))
    database = EmbeddedDatabase(data / "store", computes_aggregates=False)
    try:
        request = MeasuredRows(ACCOUNTS[0], dimensions=("model",))
        days = database.aggregates.rebuild()
        relation = database.aggregates.relation(request, measured_rows)
        assert "sums_by_day" in relation.sql
        sql = f"SELECT * FROM {relation.sql}"
        answer = database.read(sql, relation.parameters)
        assert sum(json.loads(row)["calls"] for row in answer) == sum(int(row["calls"]) for row in expected)
        client = connect(data)
        files = client.raw_query("SELECT path FROM system.parts WHERE active AND table LIKE 'sums_by_%'", fmt="TSV")
        for path in files.decode().split():
            assert callable(damage)
            damage(Path(path) / "data.bin")  # the columns of measures are in the second half
        client.command("SYSTEM DROP UNCOMPRESSED CACHE")
        client.command("SYSTEM DROP MARK CACHE")
        client.close()
        with pytest.raises(RelationExpiredError):
            database.read(sql, relation.parameters)
        again = database.aggregates.relation(request, measured_rows)
        assert "sums_by" not in again.sql
        database.aggregates.compute_all()
        assert len(database.aggregates.days()) == days
        with pytest.raises(RelationExpiredError):  # planned for the tables of an earlier epoch
            database.read(sql, relation.parameters)
    finally:
        database.close()


def test_rows_that_are_missing_at_a_start_are_computed_again(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 400)
        store.wait()
    with SummedStore(tmp_path) as store:
        for name in store.events.raw_query("SHOW TABLES", fmt="TSV").decode().split():
            if name.startswith("sums_by_day"):
                store.events.command(f"TRUNCATE TABLE {name}")
        store.aggregates.work()
        store.check()
        store.wait()
        assert all(map(store.uses_aggregates, every_cube()))
        store.check()


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_a_damaged_or_missing_file_of_published_days_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.wait()
    file = tmp_path / "aggregates.sqlite"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with SummedStore(tmp_path) as store:
        store.wait()
        store.check()
        assert all(map(store.uses_aggregates, every_cube()))
        tables = [name for name in store.events.raw_query("SHOW TABLES", fmt="TSV").decode().split() if "sums" in name]
        assert len(tables) == len(UNITS)


def test_an_account_never_reads_the_aggregates_of_another(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300, "acc_a")
        store.insert(2, 200, "acc_b")
        store.wait()
        for request in every_cube():
            assert "acc_b" not in store.aggregates.relation(request, measured_rows).sql
        (row,) = store.rows(MeasuredRows("acc_a"))
        assert row["calls"] == "300"
        assert store.rows(MeasuredRows("acc_c")) == []
        hostile = MeasuredRows("acc_a' OR 1=1 --", tag_key="' OR 1=1 --")
        assert store.rows(hostile) == store.event_rows(hostile)


def test_events_that_disappear_with_a_part_are_missing_in_the_answers_as_well(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.insert(2, 50, first_ms=FIRST_MS, length_ms=DAY_MS)
        store.wait()
        store.aggregates.check_again()
        store.events.command(f"ALTER TABLE events DELETE WHERE toDate(timestamp) = '{date(2026, 3, 27)}'")
        store.check()
        store.aggregates.work()
        store.check()
        store.wait()
        store.check()


def test_nothing_is_computed_while_space_is_short(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.is_short = True
        store.wait()
        assert not store.uses_aggregates(MeasuredRows(ACCOUNTS[0]))
        store.is_short = False
        store.wait()
        assert store.uses_aggregates(MeasuredRows(ACCOUNTS[0]))


def test_rows_of_withdrawn_versions_are_deleted_after_the_queries_that_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infraprism.backend.store.aggregates.aggregates.MIN_DELETED_ROWS", 1)
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.wait()
        planned = store.aggregates.relation(MeasuredRows(ACCOUNTS[0]), measured_rows)
        store.insert(2, 30)
        store.wait()
        (row,) = store.rows(MeasuredRows(ACCOUNTS[0]), planned)
        assert row["calls"] == "300"
        store.wait(601)
        name = table("day", store.aggregates.epoch)
        counted = store.events.command(f"SELECT count() FROM {name} WHERE cube = 1")
        versions = store.events.command(f"SELECT uniqExact(day, version) = uniqExact(day) FROM {name}")
        assert (int(counted) > 0, versions) == (True, 1)
        store.check()


def test_sums_by_session_of_finalised_days_are_deleted_physically_and_no_others(tmp_path: Path) -> None:
    end = date(2026, 3, 29)
    with SummedStore(tmp_path) as store:
        for seed, account in enumerate(ACCOUNTS):
            store.insert(seed, 300, account)
        store.wait()
        store.aggregates.finalise(ACCOUNTS[0], end)
        store.aggregates.deletion.forget_sessions([*ACCOUNTS, "acc_unknown"])
        for unit in UNITS:
            name = table(unit, store.aggregates.epoch)
            days = f"SELECT account, toString(min(day)) AS first FROM {name} GROUP BY account ORDER BY account"
            found = store.events.raw_query(days, fmt="TSV").decode().split()
            assert found == [ACCOUNTS[0], str(end), ACCOUNTS[1], "2026-03-27"]
            replaced = f"SELECT path FROM system.parts WHERE table = '{name}' AND NOT active"
            paths = store.events.raw_query(replaced, fmt="TSV").decode().split()
            assert not [path for path in paths if (Path(path) / "data.bin").exists()]
        after = MeasuredRows(ACCOUNTS[0], FIRST_MS + 2 * DAY_MS, dimensions=("session_id",))
        assert store.uses_aggregates(after)
        assert store.rows(after) == store.event_rows(after)
        assert not store.aggregates.deletion.unread_rows(ACCOUNTS[0])
