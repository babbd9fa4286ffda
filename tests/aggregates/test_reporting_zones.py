"""Aggregates by day are of days of the account's reporting time zone, and equal the events in every zone."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.kit.summed_store import ACCOUNTS, DAY_MS, DAYS, FIRST_MS, SummedStore, every_cube

from infraprism.backend.analytics.time_zones import milliseconds, start_of_day, zone
from infraprism.backend.store.aggregates.published import PublishedDays
from infraprism.backend.store.measured_rows import MeasuredRows

_BY_ENTITY_AND_DAY = MeasuredRows(ACCOUNTS[0], dimensions=("entity_type", "entity_id"), time_unit="day")
_ZONES = [
    ("Europe/Berlin", date(2026, 3, 27)),  # 23 hours on 29 March
    ("Europe/Berlin", date(2026, 10, 23)),  # 25 hours on 25 October
    ("Asia/Kolkata", date(2026, 3, 27)),  # five and a half hours ahead
    ("Asia/Kathmandu", date(2026, 3, 27)),  # and three quarters
    ("Australia/Lord_Howe", date(2026, 4, 3)),  # clocks change by half an hour
    ("Atlantic/Azores", date(2026, 3, 27)),
    ("Pacific/Apia", date(2011, 12, 28)),  # 30 December does not exist
    ("America/Sao_Paulo", date(2018, 11, 2)),  # 4 November has no midnight
    ("America/Havana", date(2025, 10, 31)),  # 2 November has two
    ("Pacific/Kiritimati", date(1994, 12, 29)),  # 31 December does not exist
]


def by_day(zone_name: str) -> MeasuredRows:
    return replace(_BY_ENTITY_AND_DAY, time_zone=zone_name)


def first_ms_of(first: date) -> int:
    return int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(("name", "first"), _ZONES)
def test_days_of_the_reporting_zone_are_read_from_sums_by_day_and_equal_the_events(
    tmp_path: Path, name: str, first: date
) -> None:
    first_ms = first_ms_of(first)
    with SummedStore(tmp_path, zones={ACCOUNTS[0]: name}, first_ms=first_ms) as store:
        store.insert(1, 800)
        store.wait()
        whole = replace(by_day(name), first_ms=first_ms, end_ms=first_ms + DAYS * DAY_MS)
        assert store.tables(whole) == {"sums_by_day"}
        assert store.rows(whole) == store.event_rows(whole)
        second, last = (milliseconds(start_of_day(first + timedelta(days), zone(name))) for days in (1, 2))
        local = replace(whole, first_ms=second, end_ms=last)
        for request in (local, replace(local, time_unit="none"), replace(whole, time_unit="none")):
            assert store.tables(request) == {"sums_by_day"}
            assert store.rows(request) == store.event_rows(request)
        store.check()


def test_days_of_utc_are_read_from_sums_by_day_too_and_those_of_other_zones_from_quarter_hours(tmp_path: Path) -> None:
    with SummedStore(tmp_path, zones={ACCOUNTS[0]: "Asia/Kolkata"}) as store:
        store.insert(1, 500)
        store.wait()
        outcomes = MeasuredRows(ACCOUNTS[0], FIRST_MS, FIRST_MS + DAYS * DAY_MS, ("success",), time_unit="day")
        assert store.tables(outcomes) == {"sums_by_day"}
        other = replace(outcomes, time_zone="Asia/Kathmandu")
        assert store.tables(other) == {"sums_by_quarter_hour"}
        for request in (outcomes, other):
            assert store.rows(request) == store.event_rows(request)


def test_days_are_computed_again_when_the_zone_of_their_account_changes(tmp_path: Path) -> None:
    whole = replace(by_day("Asia/Kolkata"), first_ms=FIRST_MS, end_ms=FIRST_MS + DAYS * DAY_MS)
    with SummedStore(tmp_path) as store:
        store.insert(1, 500)
        store.insert(2, 100, ACCOUNTS[1])
        store.wait()
        assert store.tables(whole) == {"sums_by_quarter_hour"}
        store.zones[ACCOUNTS[0]] = "Asia/Kolkata"
        store.check()
        store.wait()  # the zones are read again
        store.check()
        store.wait()  # the days are due
        assert store.tables(whole) == {"sums_by_day"}
        other = replace(whole, account_id=ACCOUNTS[1], time_zone="UTC")
        assert store.tables(other) == {"sums_by_day"}
        store.check()


def test_a_zone_that_changed_while_the_server_was_stopped_is_found_at_the_start(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 500)
        store.wait()
    with SummedStore(tmp_path, zones={ACCOUNTS[0]: "Europe/Berlin"}) as store:
        store.aggregates.work()
        store.check()
        store.wait()
        assert all(map(store.uses_aggregates, every_cube("Europe/Berlin")))
        assert {found.time_zone for found in store.aggregates.published(ACCOUNTS[0])} == {"Europe/Berlin"}
        store.check()


def test_days_whose_events_are_gone_keep_their_zone(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        store.insert(1, 500)
        store.wait()
        store.events.command(f"ALTER TABLE events DELETE WHERE toDate(timestamp) = '{date(2026, 3, 27)}'")
        store.zones[ACCOUNTS[0]] = "Europe/Berlin"
        store.wait()
        store.wait()
        zones = {found.day.date.day: found.time_zone for found in store.aggregates.published(ACCOUNTS[0])}
        assert zones == {27: "UTC", 28: "Europe/Berlin", 29: "Europe/Berlin", 30: "Europe/Berlin"}


def test_a_zone_that_the_engine_does_not_know_counts_as_utc(tmp_path: Path) -> None:
    with SummedStore(tmp_path, zones={ACCOUNTS[0]: "Mars/Olympus"}) as store:
        store.insert(1, 300)
        store.wait()
        assert {found.time_zone for found in store.aggregates.published(ACCOUNTS[0])} == {"UTC"}


def test_the_published_days_of_an_earlier_version_are_days_of_utc(tmp_path: Path) -> None:
    file = tmp_path / "aggregates.sqlite"
    with SummedStore(tmp_path) as store:
        store.insert(1, 300)
        store.wait()
    with sqlite3.connect(file) as db:
        for column in ("time_zone", "midnights"):
            db.execute(f"ALTER TABLE published DROP COLUMN {column}")
    db.close()
    days = PublishedDays(file)
    assert len(days.all()) == DAYS
    days.close()
    with SummedStore(tmp_path) as store:
        store.aggregates.work()
        whole = replace(by_day("UTC"), first_ms=FIRST_MS, end_ms=FIRST_MS + DAYS * DAY_MS)
        assert store.tables(whole) == {"sums_by_day"}
        store.check()
