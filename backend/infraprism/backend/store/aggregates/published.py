"""Which days have aggregates: a SQLite file, so that a change is durable in a millisecond and atomic."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

_EPOCH_DAY: Final = date(1970, 1, 1)
_RESERVED_VERSIONS: Final = 1_000_000
_ADDED: Final = {"time_zone": "TEXT NOT NULL DEFAULT 'UTC'", "midnights": "TEXT NOT NULL DEFAULT ''"}
"""Columns that the file of an earlier version does not have."""
_ALL: Final = (
    "SELECT account, day, version, cubes, calls, by_day, by_quarter_hour, unsummed_keys, time_zone, midnights"
    " FROM published"
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NEVER: Final = 2**31


class Day(NamedTuple):
    """A UTC day of an account: the unit that is computed and published."""

    account: str
    date: date


@dataclass(frozen=True)
class Published:
    """The aggregates of a day: the version of their rows, and what they have.

    `cubes` are numbers of cubes. `rows` are the stored rows by unit. `unsummed_keys` are tag keys by unit. The rows by
    day are of days of `time_zone`, which begin within the UTC day at `midnights_s`, seconds since 1970.
    """

    day: Day
    version: int
    cubes: frozenset[int]
    calls: int
    rows: Mapping[str, int]
    unsummed_keys: Mapping[str, Sequence[str]]
    time_zone: str = "UTC"
    midnights_s: tuple[int, ...] = ()


class PublishedDays:
    """The file. Not thread-safe. Every method raises sqlite3.Error if the file cannot be read or written.

    A damaged file is made anew: then no day is published, and the epoch is another one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_version = self._end_version = 0
        self.epoch = 0
        with self._renewing_damaged():
            self._open()

    def publish(self, days: Iterable[Published]) -> None:
        """Publish days in one transaction."""
        rows = [
            (
                found.day.account,
                _number(found.day.date),
                found.version,
                sum(1 << number for number in found.cubes),
                found.calls,
                found.rows["day"],
                found.rows["quarter_hour"],
                json.dumps(found.unsummed_keys) if any(found.unsummed_keys.values()) else "",
                found.time_zone,
                json.dumps(found.midnights_s) if found.midnights_s else "",
            )
            for found in days
        ]
        with self._renewing_damaged(), self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def withdraw(self, days: Iterable[Day]) -> list[Published]:
        """Withdraw days in one transaction, which is durable. Returns those that were published."""
        found: list[Published] = []
        with self._renewing_damaged():
            for day in days:
                found += self.of(day.account, day.date, day.date + timedelta(days=1))
            if found:
                with self._db:
                    self._db.execute("BEGIN")
                    self._db.executemany(
                        "DELETE FROM published WHERE account = ? AND day = ?",
                        [(item.day.account, _number(item.day.date)) for item in found],
                    )
        return found

    def forget_account(self, account: str) -> None:
        """Withdraw all days of an account."""
        with self._renewing_damaged(), self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM published WHERE account = ?", (account,))

    def withdraw_all(self) -> None:
        """Withdraw all days, and begin a new epoch."""
        with self._renewing_damaged(), self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM published")
            self._begin_epoch()

    def of(self, account: str, first: date | None = None, end: date | None = None) -> list[Published]:
        """The published days of an account from `first`, before `end`, in their order."""
        bounds = (account, 0 if first is None else _number(first), _NEVER if end is None else _number(end))
        return [
            _published(row) for row in self._db.execute(f"{_ALL} WHERE account = ? AND day >= ? AND day < ?", bounds)
        ]

    def all(self) -> list[Published]:
        """All published days."""
        return [_published(row) for row in self._db.execute(_ALL)]

    def accounts(self) -> list[str]:
        """The accounts with published days, in their order."""
        found: list[str] = []
        after = "SELECT account FROM published WHERE account > ? ORDER BY account LIMIT 1"  # reads no other days
        while row := self._db.execute(after, (found[-1] if found else "",)).fetchone():
            found.append(row[0])
        return found

    def new_version(self) -> int:
        """A version that no row has."""
        if self._next_version == self._end_version:
            with self._db:
                self._db.execute("BEGIN")
                self._next_version = self._value("next_version", 1)
                self._end_version = self._next_version + _RESERVED_VERSIONS
                self._db.execute("INSERT OR REPLACE INTO state VALUES ('next_version', ?)", (self._end_version,))
        self._next_version += 1
        return self._next_version - 1

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> None:
        self._path.touch(mode=0o600)
        self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        # Not WAL: it maps a file into memory, and on a full disk an access to it ends the process with SIGBUS.
        self._db.execute("PRAGMA journal_mode = TRUNCATE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if [row[0] for row in self._db.execute("PRAGMA quick_check(1)")] != ["ok"]:
            raise _DamagedError
        self._db.executescript(resources.files(__package__).joinpath("published.sql").read_text(encoding="utf-8"))
        present = {row[1] for row in self._db.execute("PRAGMA table_info(published)")}
        for name, definition in _ADDED.items():
            if name not in present:
                self._db.execute(f"ALTER TABLE published ADD COLUMN {name} {definition}")
        self.epoch = self._value("epoch", 0)
        if not self.epoch:
            with self._db:
                self._db.execute("BEGIN")
                self._begin_epoch()

    def _begin_epoch(self) -> None:
        # A random number: a file that was lost does not know the earlier ones.
        (self.epoch,) = self._db.execute("SELECT abs(random() % 1000000000000) + 1").fetchone()
        self._db.execute("INSERT OR REPLACE INTO state VALUES ('epoch', ?)", (self.epoch,))

    def _value(self, name: str, missing: int) -> int:
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return missing if row is None else int(row[0])

    @contextmanager
    def _renewing_damaged(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, _DamagedError) as error:
            if not isinstance(error, _DamagedError) and getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            self._db.close()
            self._path.unlink()
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            self._next_version = self._end_version = 0
            self._open()


class _DamagedError(Exception):
    pass


def _number(day: date) -> int:
    return (day - _EPOCH_DAY).days


def _published(row: tuple[str, int, int, int, int, int, int, str, str, str]) -> Published:
    account, day, version, cubes, calls, by_day, by_quarter_hour, keys, time_zone, midnights = row
    return Published(
        Day(account, _EPOCH_DAY + timedelta(days=day)),
        version,
        frozenset(number for number in range(cubes.bit_length()) if cubes >> number & 1),
        calls,
        {"day": by_day, "quarter_hour": by_quarter_hour},
        json.loads(keys) if keys else {},
        time_zone,
        tuple(json.loads(midnights)) if midnights else (),
    )
