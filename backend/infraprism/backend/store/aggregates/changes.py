"""Which days have events that the aggregates do not have.

A day is withdrawn from the published days, durably, before its events change. It is published again only if nothing
changed between the start of its computation and the publication, and no statement that may change it is running. So the
aggregates of a published day equal its events at every moment, also after a kill.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from infraprism.backend.store.aggregates.finalised import FinalisedDayError, FinalisedDays, Kept
from infraprism.backend.store.aggregates.published import Day, Published, PublishedDays

QUIET_S: Final = 60.0
"""A day is computed when it did not change for this time."""
QUIET_TODAY_S: Final = 900.0
MAX_WAIT_S: Final = 900.0
"""A day that changes all the time is computed after this time, in a pause of `MIN_QUIET_S`."""
MIN_QUIET_S: Final = 5.0


@dataclass(slots=True)
class _Change:
    since_s: float
    last_s: float
    number: int
    running: int = 0


class Started(NamedTuple):
    """The state of a day when its computation began."""

    day: Day
    change: int


@dataclass(slots=True)
class Watch:
    """The days of an account before `end`, while they are finalised. `is_changed`: one of them may have changed."""

    account: str
    end: date
    is_changed: bool = False


class Withdrawn(NamedTuple):
    """Rows that are no longer read by new queries."""

    day: Day
    version: int
    rows: int
    since_s: float


class Changes:
    """The changed days, in memory, and the published days, in a file. Thread-safe.

    `is_checked` is false until the published days were compared with the tables; until then they are not read.
    """

    def __init__(self, published: PublishedDays, finalised: FinalisedDays) -> None:
        self._published = published
        self._finalised = finalised
        self._watches: list[Watch] = []
        self._lock = threading.Lock()
        self._changed: dict[Day, _Change] = {}
        self._numbers = 0
        self._withdrawn: list[Withdrawn] = []
        self._checks = 0
        self.is_checked = False

    @property
    def epoch(self) -> int:
        """The epoch of the tables."""
        return self._published.epoch

    def begin(self, days: Iterable[Day], now_s: float) -> None:
        """Events of these days may change from now until `end`. Raises FinalisedDayError, sqlite3.Error."""
        with self._lock:
            days = list(days)
            if any(map(self._finalised.has, days)):
                raise FinalisedDayError
            for watch in self._watches:
                watch.is_changed |= any(day.account == watch.account and day.date < watch.end for day in days)
            epoch = self.epoch
            unknown = []
            for day in days:
                if day not in self._changed:
                    unknown.append(day)
                    self._changed[day] = _Change(now_s, now_s, 0)
                change = self._changed[day]
                self._numbers += 1
                change.number, change.last_s, change.running = self._numbers, now_s, change.running + 1
            try:
                self._withdraw(unknown, now_s)
            except BaseException:
                for day in unknown:
                    del self._changed[day]
                raise
            if epoch != self.epoch:
                self._uncheck()

    def end(self, days: Iterable[Day], now_s: float) -> None:
        """The statement that changes these days has ended."""
        with self._lock:
            for day in days:
                change = self._changed.get(day)
                if change is not None and change.running:
                    self._numbers += 1
                    change.number, change.last_s, change.running = self._numbers, now_s, change.running - 1

    def withdraw_all(self) -> None:
        """All events may have changed, or the tables have to be made anew. Raises sqlite3.Error."""
        with self._lock:
            self._uncheck()
            self._published.withdraw_all()
            self._withdrawn.clear()

    def uncheck(self) -> None:
        """Events may be missing or restored: nothing that was published or is computed now is read."""
        with self._lock:
            self._uncheck()

    def begin_check(self) -> tuple[int, list[Published]]:
        """The number of the check that begins, and all published days."""
        with self._lock:
            return self._checks, self._published.all()

    def end_check(self, check: int) -> None:
        """The published days may be read, unless there is a reason for another check."""
        with self._lock:
            self.is_checked = self._checks == check

    def add(self, days: Iterable[Day], now_s: float) -> None:
        """Days with events that were found in the table: they are computed unless they are published."""
        with self._lock:
            for day in days:
                if not self._finalised.has(day):
                    self._changed.setdefault(day, _Change(now_s, now_s, 0))

    def due(self, now_s: float, today: date, *, every: bool = False) -> list[Started]:
        """The days to compute now, by account. With `every` all that no statement is changing."""
        with self._lock:
            found = [
                Started(day, change.number)
                for day, change in self._changed.items()
                if not change.running and (every or _is_due(day, change, now_s, today))
            ]
        return sorted(found)

    def publish(self, days: Mapping[Started, Published | None], epoch: int, now_s: float) -> int:
        """Publish computed days that did not change since. Without aggregates a day stays unpublished until it changes.

        Returns the number of days that are done. Raises sqlite3.Error.
        """
        with self._lock:
            current = {
                started: published
                for started, published in days.items()
                if epoch == self.epoch
                and (change := self._changed.get(started.day)) is not None
                and change.number == started.change
                and not change.running
            }
            found = [published for published in current.values() if published is not None]
            self._published.publish(found)
            self._withdrawn += [
                Withdrawn(started.day, published.version, sum(published.rows.values()), now_s)
                for started, published in days.items()
                if published is not None and started not in current
            ]
            for started in current:
                del self._changed[started.day]
        return len(current)

    def postpone(self, days: Iterable[Started], now_s: float) -> None:
        """The computation of these days failed: they wait again."""
        with self._lock:
            for started in days:
                if (change := self._changed.get(started.day)) is not None:
                    change.since_s = change.last_s = now_s

    def withdraw(self, days: Iterable[Published], now_s: float) -> None:
        """Withdraw days that lack rows, if they are still published with the same version. Raises sqlite3.Error."""
        with self._lock:
            for expected in days:
                if expected in self._published.of(expected.day.account, expected.day.date):
                    self._withdraw([expected.day], now_s)
                    self._changed.setdefault(expected.day, _Change(now_s, now_s, 0))

    def published(self, account: str, first: date | None, end: date | None) -> tuple[int, Sequence[Published]]:
        """The epoch, and the published days of an account that can be read now."""
        with self._lock:
            before = self._finalised.before(account)
            if before is not None:
                first = before if first is None else max(first, before)
            return self.epoch, self._published.of(account, first, end) if self.is_checked else []

    def kept(self, account: str, first: date | None, end: date | None) -> Kept | None:
        """The finalised days of an account, see FinalisedDays. Raises UnknownSumsError."""
        with self._lock:
            return self._finalised.of(account, first, end)

    def finalised_before(self, account: str) -> date | None:
        """The days of an account before this one are finalised."""
        with self._lock:
            return self._finalised.before(account)

    def all_finalised(self) -> list[Published]:
        """All finalised days that had events."""
        with self._lock:
            return self._finalised.all()

    def finalised_accounts(self) -> dict[str, date]:
        """The accounts with finalised days, and the day before which they are."""
        with self._lock:
            return self._finalised.accounts()

    def set_unknown(self, days: Iterable[Day]) -> bool:
        """The sums of these finalised days are damaged. Returns whether some are that were not before."""
        with self._lock:
            before, self._finalised.unknown = self._finalised.unknown, frozenset(days)
            return not self._finalised.unknown <= before

    @contextmanager
    def watching(self, account: str, end: date) -> Iterator[Watch]:
        """Notice changes of the days of an account before a date, within the block."""
        watch = Watch(account, end)
        with self._lock:
            watch.is_changed = any(
                change.running and day.account == account and day.date < end for day, change in self._changed.items()
            )
            self._watches.append(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.remove(watch)

    def finalise(self, watch: Watch, days: Sequence[Published]) -> bool:
        """Finalise the days of a watch, of which these have events, unless one of them has changed.

        Returns whether they are finalised, which is durable. Raises sqlite3.Error.
        """
        with self._lock:
            if watch.is_changed:
                return False
            self._finalised.finalise(watch.account, watch.end, days)
            self._withdraw([one.day for one in self._published.of(watch.account, None, watch.end)], 0.0)
            for day in [day for day in self._changed if self._finalised.has(day)]:
                del self._changed[day]
            return True

    def replace_finalised(self, old: Sequence[Published], new: Sequence[Published]) -> None:
        """Replace the sums of finalised days; those without new ones have no calls. Raises sqlite3.Error."""
        with self._lock:
            self._finalised.replace(old, new)

    def forget_account(self, account: str) -> None:
        """Forget all days of an account. Raises sqlite3.Error."""
        with self._lock:
            self._published.forget_account(account)
            self._finalised.forget_account(account)
            for day in [day for day in self._changed if day.account == account]:
                del self._changed[day]

    def all_published(self) -> list[Published]:
        """All published days."""
        with self._lock:
            return self._published.all()

    def accounts(self) -> list[str]:
        """The accounts with published days."""
        with self._lock:
            return self._published.accounts()

    def new_version(self) -> int:
        """A version that no row has."""
        with self._lock:
            return self._published.new_version()

    def withdrawn(self) -> list[Withdrawn]:
        """The rows to delete."""
        with self._lock:
            return list(self._withdrawn)

    def abandon(self, days: Iterable[Day], version: int, now_s: float) -> None:
        """Rows of these days may have been stored, and are never published."""
        with self._lock:
            self._withdrawn += [Withdrawn(day, version, 0, now_s) for day in days]

    def forget_withdrawn(self, rows: Iterable[Withdrawn]) -> None:
        """Rows that were deleted."""
        deleted = set(rows)
        with self._lock:
            self._withdrawn = [found for found in self._withdrawn if found not in deleted]

    def set_withdrawn(self, rows: Iterable[Withdrawn]) -> None:
        """Replace the list of rows to delete."""
        with self._lock:
            self._withdrawn = list(rows)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._published.close()
            self._finalised.close()

    def _uncheck(self) -> None:
        self._checks += 1
        self.is_checked = False
        for watch in self._watches:
            watch.is_changed = True
        for change in self._changed.values():
            self._numbers += 1
            change.number = self._numbers

    def _withdraw(self, days: Sequence[Day], now_s: float) -> None:
        for found in self._published.withdraw(days):
            self._withdrawn.append(Withdrawn(found.day, found.version, sum(found.rows.values()), now_s))


def _is_due(day: Day, change: _Change, now_s: float, today: date) -> bool:
    quiet_s = now_s - change.last_s
    if day.date >= today:
        return quiet_s >= QUIET_TODAY_S
    return quiet_s >= QUIET_S or (quiet_s >= MIN_QUIET_S and now_s - change.since_s >= MAX_WAIT_S)
