"""Keeps aggregates of the events, and answers measured rows from them.

Days are computed in the background, in small statements of one thread, with pauses. A day that has none is read from
the events, so the answers are the same at every moment.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.aggregates.changes import QUIET_S, Changes, Started, Withdrawn
from infraprism.backend.store.aggregates.cubes import PERMANENT, UNITS, is_table, table
from infraprism.backend.store.aggregates.days import date_of, days_of, milliseconds_of, store_errors
from infraprism.backend.store.aggregates.finalisation import Finalisation
from infraprism.backend.store.aggregates.finalised import FinalisedDays
from infraprism.backend.store.aggregates.published import Day, Published, PublishedDays
from infraprism.backend.store.aggregates.relation import EventRows, NotFinalError, plan, with_kept
from infraprism.backend.store.aggregates.reporting_zones import ReportingZones
from infraprism.backend.store.aggregates.sum_deletion import SumDeletion
from infraprism.backend.store.aggregates.tables import ROWS_SHARE, BrokenTableError, Tables, by_account
from infraprism.backend.store.aggregates.zone_names import ZoneOf, utc
from infraprism.backend.store.database import StoreError
from infraprism.backend.store.measured_rows import MeasuredRows, Relation
from infraprism.backend.store.parts import DAMAGE_CODES, parts_in

FINALISED_FILE: Final = "finalised.sqlite"
MIN_CALLS: Final = 1_000
"""A day with fewer calls is read from the events."""
_CALLS_AT_ONCE: Final = 300_000
"""Events of one computation. It is short: a table that has to be loaded again waits for it."""
_COUNTED_DAYS: Final = 200
_BUSY_S: Final = 10.0
_REST_WHILE_BUSY: Final = 9
"""While events arrive, a pause of this multiple follows each computation: it uses a tenth of one core."""
_REST: Final = 1
_RETRY_S: Final = 60.0
_DELETE_AFTER_S: Final = 600.0
"""Rows are kept for queries that were planned before they were withdrawn."""
MIN_DELETED_ROWS: Final = 100_000
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_ERRORS: Final = (ClickHouseError, BrokenTableError, StoreError, sqlite3.Error, OSError)
Ranges = Mapping[int, tuple[int, int]]
"""Time ranges in milliseconds since 1970, by any key."""
Progress = Callable[[int, int], None]

_log = logging.getLogger(__name__)


class RelationExpiredError(StoreError):
    """The tables that a query was planned for were made anew: plan it again."""


class NotAnsweredError(RelationExpiredError):
    """The period has finalised days, and their sums do not answer the question."""


class Aggregates:
    """The aggregates of one store.

    `file` has the published days, and `FINALISED_FILE` in its directory the finalised ones. `client` is used by
    computations only, within `computing`: the events can be read then. `find_damage` searches the events for the
    damage that a statement has met. `is_short` tells whether space is short. `clock` returns monotonic seconds, `today`
    the UTC date. `zone_of` returns the time zone of an account, whose days the aggregates by day have.
    """

    def __init__(
        self,
        file: Path,
        client: Client,
        *,
        computing: AbstractContextManager[object],
        find_damage: Callable[[StoreError], bool],
        is_short: Callable[[], bool],
        min_calls: int = MIN_CALLS,
        rows_share: float = ROWS_SHARE,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        zone_of: ZoneOf = utc,
    ) -> None:
        self._changes = Changes(PublishedDays(file), FinalisedDays(file.with_name(FINALISED_FILE)))
        self._tables = Tables(client, rows_share)
        self._finalisation = Finalisation(self._changes, self._tables, computing, zone_of)
        self._computing = computing
        self._find_damage = find_damage
        self._is_short = is_short
        self._min_calls = min_calls
        self._clock = clock
        self._today = today
        self._zones = ReportingZones(self._changes, self._tables, computing, zone_of)
        self._running: dict[int, list[Day]] = {}
        self._last_insert_s = float("-inf")
        self._working = threading.Lock()
        self.deletion: Final = SumDeletion(
            self._changes, self._tables, self._prepare, working=self._working, computing=computing, clock=clock
        )
        self._opened_epoch = 0
        self._merges_stopped = False
        self._finalisation.verify(checksums=False)  # a damaged block is an error of the query that reads it

    def before_insert(self, requests: Sequence[tuple[str, Ranges]]) -> None:
        """The events of these accounts and times may change, until `after_insert` on the same thread.

        The days are marked durably. Raises FinalisedDayError, sqlite3.Error, OSError.
        """
        self.after_insert()
        now_s = self._clock()
        days = sorted(
            {day for account, ranges in requests for bounds in ranges.values() for day in days_of(account, *bounds)}
        )
        self._changes.begin(days, now_s)
        self._running[threading.get_ident()] = days
        self._last_insert_s = now_s

    def after_insert(self) -> None:
        """The statement of this thread has ended."""
        self._changes.end(self._running.pop(threading.get_ident(), ()), self._clock())

    @contextmanager
    def changing(self, account_id: str, first_ms: int, last_ms: int) -> Iterator[None]:
        """Events of an account are changed within the block, by any statement. Raises sqlite3.Error, OSError.

        Those of finalised days are not read: their sums stay as they are.
        """
        if (before := self._changes.finalised_before(account_id)) is not None:
            first_ms = max(first_ms, milliseconds_of(before))
        self.before_insert([(account_id, {0: (first_ms, last_ms)})])
        try:
            yield
        finally:
            self.after_insert()

    def check_again(self) -> None:
        """Events may be missing, or be restored, on any day, such as by a damaged part.

        Called before the change, while no computation runs (`computing`). Until the events of each day are counted
        again, all answers are read from the events.
        """
        self._changes.uncheck()

    def relation(self, request: MeasuredRows, event_rows: EventRows) -> Relation:
        """The measured rows of a request: from aggregates for the days that have them, else from `event_rows`.

        Raises UnknownSumsError. NotAnsweredError if the period has finalised days and their sums do not answer it.
        """
        first = None if request.first_ms is None else date_of(request.first_ms)
        end = None if request.end_ms is None else date_of(request.end_ms - 1) + timedelta(days=1)
        try:
            kept = self._changes.kept(request.account_id, first, end)
        except (sqlite3.Error, OSError):
            raise StoreError from None  # the events of these days may be deleted
        if kept is not None:
            try:
                return with_kept(request, kept, partial(self.relation, event_rows=event_rows), event_rows)
            except NotFinalError:
                raise NotAnsweredError from None
        try:
            epoch, published = self._changes.published(request.account_id, first, end)
        except (sqlite3.Error, OSError) as error:
            _log.warning(
                "the published days cannot be read: %s. Answers are read from the events", type(error).__name__
            )
            return event_rows(request)
        return (plan(request, epoch, published, event_rows) if published else None) or event_rows(request)

    def has_expired(self, sql: str, error: StoreError) -> bool:
        """Whether a query failed because its tables were made anew, or are damaged. They are made anew then."""
        epoch = self._changes.epoch
        names = [word for word in sql.replace("(", " ").split() if is_table(word)]
        permanent = [name for name in names if name == table("day", PERMANENT)]
        if permanent and error.code in DAMAGE_CODES and self._finalisation.verify():
            return True
        names = [name for name in names if name not in permanent]
        if not names:
            return False
        if any(not name.endswith(f"_{epoch}") for name in names):
            return True
        if error.code in DAMAGE_CODES and not self._are_intact(epoch):
            _log.warning("the aggregates are damaged: they are computed again from the events")
            self._changes.withdraw_all()
            return True
        return False

    def work(self) -> float | None:
        """Compute the days that are due, at most some. Returns the seconds to rest, or None if nothing was due."""
        started_s = self._clock()
        try:
            with self._working:
                if not self._prepare():
                    return None
                self._zones.withdraw_others(started_s)
                due = self._changes.due(started_s, self._today())
                if not due:
                    self._delete_withdrawn()
                    return None
                self._compute(due)
        except _ERRORS as error:
            self._on_error(error)
            return _RETRY_S
        is_busy = self._clock() - self._last_insert_s < _BUSY_S
        return (self._clock() - started_s) * (_REST_WHILE_BUSY if is_busy else _REST)

    def compute_all(self, progress: Progress = lambda _done, _all: None) -> None:
        """Compute every day that no statement is changing now. Raises StoreError, sqlite3.Error, OSError."""
        with self._working, store_errors():
            self._prepare()
            self._zones.withdraw_others(self._clock(), at_once=True)
            total = len(due := self._due_now())
            while due:
                progress(total - len(due), total)
                if not self._compute(due):
                    break
                due = self._due_now()
            progress(total, total)

    def rebuild(self, progress: Progress = lambda _done, _all: None) -> int:
        """Compute all aggregates again. Returns the number of days that have them.

        Raises StoreError, sqlite3.Error, OSError. StoreError if a day could not be computed.
        """
        self._changes.withdraw_all()
        self.compute_all(progress)
        if self._due_now():
            raise StoreError
        return len(self.days())

    def days(self) -> list[Day]:
        """The days that have aggregates, of all accounts."""
        return [found.day for found in self._changes.all_published()]

    def published(self, account_id: str) -> list[Published]:
        """The published days of an account, in their order. Raises sqlite3.Error."""
        return list(self._changes.published(account_id, None, None)[1])

    @property
    def epoch(self) -> int:
        """The epoch of the tables."""
        return self._changes.epoch

    def finalise(self, account: str, end: date, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Finalise all days of an account before a date, before their events may be deleted.

        From now on these days are read from their permanent sums only, and no event of them can be inserted. They keep
        the time zone that the account has now. Raises StoreError if a day cannot be finalised because its events
        change, the disk failed, or `should_stop` is true.
        """
        with self._working, store_errors():
            self._finalisation.finalise(account, end, should_stop)

    def finalised_before(self, account: str) -> date | None:
        """The days of an account before this one are finalised."""
        return self._changes.finalised_before(account)

    def finalised_accounts(self) -> Mapping[str, date]:
        """The accounts with finalised days, and the day before which they are."""
        return self._changes.finalised_accounts()

    def verify_finalised(self) -> None:
        """Verify the permanent sums. Raises nothing: days that are damaged are unknown from now on."""
        self._finalisation.verify()

    def forget_account(self, account: str) -> None:
        """Forget an account that has no events and no sums any more. Raises sqlite3.Error."""
        with self._working:
            self._changes.forget_account(account)

    def close(self) -> None:
        """Close the file."""
        with self._working:
            self._changes.close()

    def _prepare(self) -> bool:
        """Open the tables, and compare the published days with them. Returns whether days can be computed."""
        epoch = self._changes.epoch
        with self._computing:
            if self._opened_epoch != epoch:
                self._tables.open(epoch)
                self._opened_epoch, self._merges_stopped = epoch, False
            if (is_short := self._is_short()) != self._merges_stopped:
                self._tables.stop_merges(epoch, stop=is_short)
                self._merges_stopped = is_short
        if not self._changes.is_checked:
            self._check(epoch)
        return not is_short

    def _check(self, epoch: int) -> None:
        """Withdraw the days that lack rows or have other events, and find the days that are not computed."""
        check, published = self._changes.begin_check()
        with self._computing:
            rows = {unit: self._tables.row_counts(epoch, unit) for unit in UNITS}
            calls = self._tables.event_counts()
        now_s = self._clock()
        lacking = [
            found
            for found in published
            if found.calls != calls.get(found.day, 0)
            or any(found.rows[unit] != rows[unit].get((found.day, found.version), (0, 0))[0] for unit in UNITS)
        ]
        self._changes.withdraw(lacking, now_s)
        live = {(found.day, found.version) for found in self._changes.all_published()}
        dead = Counter[tuple[Day, int]]()
        for counted in rows.values():
            dead.update({key: number for key, (number, _) in counted.items() if key not in live})
        self._changes.set_withdrawn(
            Withdrawn(day, version, number, now_s - _DELETE_AFTER_S) for (day, version), number in dead.items()
        )
        published_days = {day for day, _ in live}
        self._changes.add(
            (day for day, number in calls.items() if number >= self._min_calls and day not in published_days),
            now_s - QUIET_S,
        )
        self._changes.end_check(check)

    def _due_now(self) -> list[Started]:
        return self._changes.due(self._clock(), self._today(), every=True)

    def _compute(self, due: Sequence[Started]) -> bool:
        """Compute some of these days. Returns whether one is done."""
        epoch = self._changes.epoch
        due = due[:_COUNTED_DAYS]
        with self._computing:
            counts = self._tables.event_counts(by_account(started.day for started in due))
        results: dict[Started, Published | None] = {
            started: None for started in due if counts.get(started.day, 0) < self._min_calls
        }
        chosen = self._chosen([started for started in due if started not in results], counts)
        if chosen:
            version = self._changes.new_version()
            days = {started.day: started for started in chosen}
            try:
                with self._computing:
                    zone = self._zones.of(chosen[0].day.account)
                    found = list(self._tables.compute(list(days), epoch, version, zone))
            except (ClickHouseError, BrokenTableError, StoreError):
                self._changes.abandon(days, version, self._clock())
                raise
            results |= {days[published.day]: published for published in found}
        now_s = self._clock()
        done = self._changes.publish(results, epoch, now_s)
        self._changes.postpone([started for started in chosen if started not in results], now_s)
        return bool(done)

    @staticmethod
    def _chosen(due: Sequence[Started], counts: Mapping[Day, int]) -> list[Started]:
        """Days of the first account, with few enough events for one computation, but at least one day."""
        sizes = itertools.accumulate(counts.get(started.day, 0) for started in due)
        return [
            started
            for place, (started, size) in enumerate(zip(due, sizes, strict=True))
            if started.day.account == due[0].day.account and (place == 0 or size <= _CALLS_AT_ONCE)
        ]

    def _delete_withdrawn(self) -> None:
        rows = self._changes.withdrawn()
        old = [found for found in rows if found.since_s <= self._clock() - _DELETE_AFTER_S]
        if sum(found.rows for found in old) >= MIN_DELETED_ROWS:
            with self._computing:
                self._tables.delete(((found.day, found.version) for found in old), self._changes.epoch)
            self._changes.forget_withdrawn(old)

    def _are_intact(self, epoch: int) -> bool:
        with self._computing:
            try:
                return self._opened_epoch != epoch or self._tables.are_intact(epoch)
            except ClickHouseError:
                return False

    def _on_error(self, error: Exception) -> None:
        _log.warning("aggregates could not be computed: %s. Answers are read from the events", type(error).__name__)
        code = getattr(error, "code", None) or 0
        try:
            if code in DAMAGE_CODES and not self._are_intact(self._changes.epoch):
                self._changes.withdraw_all()
            elif code in DAMAGE_CODES:
                self._find_damage(StoreError(code, parts_in(str(error))))
        except _ERRORS as another:
            _log.warning("aggregates could not be verified: %s", type(another).__name__)
