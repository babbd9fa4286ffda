"""Finalised days keep their sums, whatever happens to their events and to the other aggregates."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.kit.damage import flip_a_bit
from tests.kit.summed_store import ACCOUNTS, DAY_MS, DAYS, FIRST_MS, SummedStore, every_cube, random_requests

from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.analytics.time_zones import milliseconds, start_of_day, zone
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates import (
    FinalisedDayError,
    NotAnsweredError,
    RelationExpiredError,
    UnknownSumsError,
)
from infraprism.backend.store.aggregates.aggregates import FINALISED_FILE
from infraprism.backend.store.aggregates.relation import is_permanent
from infraprism.backend.store.measured_rows import MeasuredRows, Relation

FIRST = datetime.fromtimestamp(FIRST_MS / 1000, UTC).date()
_SEEDS = range(int(os.environ.get("FAULT_SEEDS", "3")))
ZONE = "Asia/Kathmandu"
"""The reporting time zone of the first account."""


def _has_sums(request: MeasuredRows) -> bool:
    """Whether permanent sums of whole UTC days answer a request."""
    zone = ZONE if request.account_id == ACCOUNTS[0] else "UTC"
    return is_permanent(request) and (request.time_unit == "none" or request.time_zone in (zone, "UTC"))


_REQUESTS = [request for request in every_cube(ZONE) if _has_sums(request)]


class _Recorded(SummedStore):
    """A store with a second table of all events that were ever accepted."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, zones={ACCOUNTS[0]: ZONE}, **options)
        self.events.command("CREATE TABLE IF NOT EXISTS recorded AS events")

    def accept(self, seed: int, number: int, account: str, day: int) -> None:
        """Insert events of a day, which may be stored already."""
        self.insert(seed, number, account, FIRST_MS + day * DAY_MS, DAY_MS)
        before = self.aggregates.finalised_before(account) or FIRST
        self.events.command(
            f"INSERT INTO recorded SELECT * FROM events WHERE account = '{account}' AND timestamp >= '{before}'"
            " AND (account, id) NOT IN (SELECT account, id FROM recorded)"
        )

    def finalise(self, account: str, day: int) -> None:
        self.aggregates.finalise(account, FIRST + timedelta(days=day))

    def expire(self, account: str, *, share: int = 1) -> None:
        """Delete the events of finalised days physically, or only one of `share`."""
        if before := self.aggregates.finalised_before(account):
            self.events.command(
                f"ALTER TABLE events DELETE WHERE account = '{account}' AND timestamp < '{before}'"
                f" AND cityHash64(id) % {share} = 0 SETTINGS mutations_sync = 1"
            )

    def recorded_rows(self, request: MeasuredRows) -> list[dict[str, Any]]:
        """The sums of a request, from all events that were ever accepted."""
        relation = measured_rows(request)
        return self.rows(request, Relation(relation.sql.replace("FROM events", "FROM recorded"), relation.parameters))

    def check_recorded(self, seed: int = 0) -> None:
        """Compare what the permanent sums answer with all accepted events, and other answers with the kept ones."""
        for request in (*_REQUESTS, *random_requests(seed, 4)):
            before = self.aggregates.finalised_before(request.account_id)
            first_ms = FIRST_MS - DAY_MS if request.first_ms is None else request.first_ms
            whole = first_ms % DAY_MS == 0 and (request.end_ms is None or request.end_ms % DAY_MS == 0)
            if before is not None and not (_has_sums(request) and whole):
                request = replace(request, first_ms=max(first_ms, _ms(before)))  # noqa: PLW2901  # as the reader does
                if request.end_ms is not None and request.end_ms <= _ms(before):
                    continue
            assert self.rows(request) == self.recorded_rows(request), request


def _ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


@contextmanager
def _opened(directory: Path) -> Iterator[_Recorded]:
    store = _Recorded(directory)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("seed", _SEEDS)
def test_answers_equal_all_accepted_events_after_any_sequence_of_changes(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    for _ in range(3):  # starts
        with _opened(tmp_path) as store:
            for _ in range(6):
                account, day = chooser.choice(ACCOUNTS), chooser.randrange(DAYS)
                step = chooser.choice(("insert", "insert", "finalise", "expire", "compute", "check", "rebuild"))
                match step:
                    case "insert":
                        before = store.aggregates.finalised_before(account)
                        if before is not None and FIRST + timedelta(days=day) < before:
                            with pytest.raises(FinalisedDayError):
                                store.accept(chooser.randrange(4), 40, account, day)
                        else:
                            store.accept(chooser.randrange(4), 40, account, day)
                    case "finalise":
                        store.finalise(account, day)
                    case "expire":
                        store.expire(account, share=chooser.choice((1, 2)))
                    case "compute":
                        store.wait()
                    case "check":
                        store.aggregates.check_again()
                    case "rebuild":
                        store.aggregates.rebuild()
                store.check_recorded(chooser.randrange(10**6))


def test_a_finalised_day_has_no_session_and_no_time_of_day(tmp_path: Path) -> None:
    with _opened(tmp_path) as store:
        store.accept(1, 300, ACCOUNTS[0], 0)
        store.wait()
        store.finalise(ACCOUNTS[0], 1)
        store.expire(ACCOUNTS[0])
        sums = (
            f"SELECT count(), countIf(session_id != ''), countIf(toStartOfDay(time, '{ZONE}') != time)"
            " FROM sums_by_day_0"
        )
        rows, sessions, times = map(int, store.events.raw_query(sums, fmt="TSV").split())
        assert (rows > 0, sessions, times) == (True, 0, 0)
        sessions_of_day = MeasuredRows(ACCOUNTS[0], FIRST_MS, FIRST_MS + DAY_MS, ("session_id",))
        with pytest.raises(RelationExpiredError):
            store.rows(sessions_of_day)


def test_finalised_days_answer_periods_of_whole_days_of_their_time_zone_and_of_no_other(tmp_path: Path) -> None:
    midnights = [milliseconds(start_of_day(FIRST + timedelta(days=day), zone(ZONE))) for day in range(3)]
    request = MeasuredRows(ACCOUNTS[0], midnights[1], midnights[2], ("entity_id",), time_unit="day", time_zone=ZONE)
    with _opened(tmp_path) as store:
        for day in range(3):
            store.accept(day, 100, ACCOUNTS[0], day)
        store.finalise(ACCOUNTS[0], 3)
        store.expire(ACCOUNTS[0])
        assert store.recorded_rows(request)
        utc = replace(request, time_zone="UTC")
        for found in (request, replace(request, time_unit="none"), replace(request, first_ms=None), utc):
            assert store.rows(found) == store.recorded_rows(found)
        for other in (
            replace(request, first_ms=midnights[1] + 1),
            replace(request, end_ms=midnights[2] - 1),
            replace(request, time_zone="Europe/Berlin"),
        ):
            with pytest.raises(NotAnsweredError):
                store.rows(other)
        store.zones[ACCOUNTS[0]] = "Europe/Berlin"
        store.wait()
        assert store.rows(request) == store.recorded_rows(request)


def test_a_day_is_not_finalised_while_its_events_change(tmp_path: Path) -> None:
    with _opened(tmp_path) as store:
        store.accept(1, 30, ACCOUNTS[0], 0)
        with store.aggregates.changing(ACCOUNTS[0], FIRST_MS, FIRST_MS), pytest.raises(StoreError):
            store.finalise(ACCOUNTS[0], 1)
        assert store.aggregates.finalised_before(ACCOUNTS[0]) is None
        store.finalise(ACCOUNTS[0], 1)
        store.check_recorded()


def test_a_day_that_changes_while_it_is_computed_is_not_finalised(tmp_path: Path) -> None:
    with _opened(tmp_path) as store:
        for day in (0, 1):
            store.accept(day, 30, ACCOUNTS[0], day)

        def late() -> bool:
            store.accept(7, 10, ACCOUNTS[0], 0)
            return False

        with pytest.raises(StoreError):
            store.aggregates.finalise(ACCOUNTS[0], FIRST + timedelta(days=2), late)
        assert store.aggregates.finalised_before(ACCOUNTS[0]) is None
        store.check_recorded()
        store.finalise(ACCOUNTS[0], 2)
        store.expire(ACCOUNTS[0])
        store.check_recorded()


@pytest.mark.parametrize("lost", ["rows", "a part", "the aggregates"])
def test_a_damaged_finalised_day_is_unknown_and_never_partial(tmp_path: Path, lost: str) -> None:
    request = MeasuredRows(ACCOUNTS[0], time_unit="day", time_zone=ZONE)
    with _opened(tmp_path) as store:
        for day in (0, 1):
            store.accept(day, 100, ACCOUNTS[0], day)
        store.finalise(ACCOUNTS[0], 2)
        store.expire(ACCOUNTS[0])
        if lost == "rows":
            store.events.command(
                f"ALTER TABLE sums_by_day_0 DELETE WHERE day = '{FIRST}' AND cube = 9 SETTINGS mutations_sync = 1"
            )
        elif lost == "a part":
            paths = store.events.raw_query("SELECT path FROM system.parts WHERE active AND table = 'sums_by_day_0'")
            flip_a_bit(Path(paths.decode().split()[0]) / "data.bin")
    if lost == "the aggregates":
        (tmp_path / "aggregates.sqlite").unlink()
    with _opened(tmp_path) as store:
        if lost == "the aggregates":
            store.check_recorded()
            return
        with pytest.raises(UnknownSumsError) as raised:
            store.aggregates.relation(request, measured_rows)
        assert str(FIRST) in raised.value.days
        after = replace(request, first_ms=FIRST_MS + 2 * DAY_MS)
        assert store.rows(after) == store.recorded_rows(after)


def test_a_damaged_file_of_finalised_days_is_not_made_anew(tmp_path: Path) -> None:
    with _opened(tmp_path) as store:
        store.accept(1, 30, ACCOUNTS[0], 0)
        store.finalise(ACCOUNTS[0], 1)
    content = b"no database" * 100
    (tmp_path / FINALISED_FILE).write_bytes(content)
    with pytest.raises(Exception, match="not a database"):
        _Recorded(tmp_path)
    assert (tmp_path / FINALISED_FILE).read_bytes() == content
