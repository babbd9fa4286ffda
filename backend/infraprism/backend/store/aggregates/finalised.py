"""Which days are finalised: a SQLite file. It is no copy of anything, is never made anew, and belongs in backups."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from infraprism.backend.store.aggregates.cubes import PERMANENT_CUBES
from infraprism.backend.store.aggregates.published import Day, Published
from infraprism.backend.store.database import StoreError

_EPOCH_DAY: Final = date(1970, 1, 1)
_ROW: Final = "SELECT account, day, version, calls, rows, time_zone, midnights FROM finalised"
_INSERT: Final = "INSERT INTO finalised VALUES (?, ?, ?, ?, ?, ?, ?)"
_SHOWN: Final = 3


class FinalisedDayError(StoreError):
    """Events of a finalised day are to be inserted. Its sums never change."""


class UnknownSumsError(StoreError):
    """The permanent sums of days are damaged, and their events are deleted: the days are unknown."""

    def __init__(self, days: Iterable[date]) -> None:
        super().__init__()
        found = sorted(days)
        more = f" and {len(found) - _SHOWN} more days" if len(found) > _SHOWN else ""
        self.days = f"{', '.join(map(str, found[:_SHOWN]))}{more}"


class Kept(NamedTuple):
    """The finalised days of a period of an account: all before `before`; `days` had events."""

    before: date
    days: list[Published]


class FinalisedDays:
    """The file. Not thread-safe. Every method raises sqlite3.Error if the file cannot be read or written."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # Not WAL: it maps a file into memory, and on a full disk an access to it ends the process with SIGBUS.
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if [row[0] for row in self._db.execute("PRAGMA quick_check(1)")] != ["ok"]:
            raise sqlite3.DatabaseError("the file is damaged")
        self._db.executescript(resources.files(__package__).joinpath("finalised.sql").read_text(encoding="utf-8"))
        self._before = {account: _date(day) for account, day in self._db.execute("SELECT * FROM boundary")}
        self.unknown: frozenset[Day] = frozenset()
        """The days of which the sums are damaged."""

    def before(self, account: str) -> date | None:
        """The days of an account before this one are finalised."""
        return self._before.get(account)

    def accounts(self) -> dict[str, date]:
        """The accounts with finalised days, and the day before which they are."""
        return dict(self._before)

    def has(self, day: Day) -> bool:
        """Whether a day is finalised."""
        before = self._before.get(day.account)
        return before is not None and day.date < before

    def of(self, account: str, first: date | None, end: date | None) -> Kept | None:
        """The finalised days from `first`, before `end`; None if no day of that period is.

        Raises UnknownSumsError.
        """
        before = self._before.get(account)
        if before is None or (first is not None and first >= before):
            return None
        bounds = (account, 0 if first is None else _number(first), _number(before if end is None else min(before, end)))
        rows = self._db.execute(f"{_ROW} WHERE account = ? AND day >= ? AND day < ?", bounds)
        days = [_published(row) for row in rows]
        if unknown := self.unknown & {found.day for found in days}:
            raise UnknownSumsError(day.date for day in unknown)
        return Kept(before, days)

    def all(self) -> list[Published]:
        """All finalised days that had events."""
        return [_published(row) for row in self._db.execute(_ROW)]

    def finalise(self, account: str, before: date, days: Iterable[Published]) -> None:
        """Finalise all days of an account before a date, of which these have events, in one transaction."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(_INSERT, map(_row, days))
            self._db.execute("INSERT OR REPLACE INTO boundary VALUES (?, ?)", (account, _number(before)))
        self._before[account] = before

    def replace(self, old: Iterable[Published], new: Iterable[Published]) -> None:
        """Replace the sums of days, in one transaction. A day without new ones has no calls any more."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "DELETE FROM finalised WHERE account = ? AND day = ? AND version = ?",
                [(one.day.account, _number(one.day.date), one.version) for one in old],
            )
            self._db.executemany(_INSERT, map(_row, new))

    def forget_account(self, account: str) -> None:
        """Remove all days of an account, and the date before which they are finalised."""
        with self._db:
            self._db.execute("BEGIN")
            for table in ("finalised", "boundary"):
                self._db.execute(f"DELETE FROM {table} WHERE account = ?", (account,))
        self._before.pop(account, None)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _number(day: date) -> int:
    return (day - _EPOCH_DAY).days


def _date(number: int) -> date:
    return _EPOCH_DAY + timedelta(days=number)


def _row(one: Published) -> tuple[str, int, int, int, int, str, str]:
    midnights = json.dumps(one.midnights_s)
    return one.day.account, _number(one.day.date), one.version, one.calls, one.rows["day"], one.time_zone, midnights


def _published(row: tuple[str, int, int, int, int, str, str]) -> Published:
    account, day, version, calls, rows, time_zone, midnights = row
    return Published(
        Day(account, _date(day)),
        version,
        PERMANENT_CUBES,
        calls,
        {"day": rows},
        {},
        time_zone,
        tuple(json.loads(midnights)),
    )
