"""Deletes sums of an account: those of expired days, and those of a scope that is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import date

from infraprism.backend.store.aggregates.changes import Changes
from infraprism.backend.store.aggregates.cubes import UNITS, table
from infraprism.backend.store.aggregates.days import store_errors
from infraprism.backend.store.aggregates.permanent_removal import PermanentRemoval, SumScope
from infraprism.backend.store.aggregates.removal import remove_days, remove_rows
from infraprism.backend.store.aggregates.tables import Tables
from infraprism.backend.store.quoting import literal


class SumDeletion:
    """The deletion of sums of one store.

    `prepare` opens the tables and returns whether there is space. Within `working` no day is computed, and within
    `computing` no statement reads the events for it. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        changes: Changes,
        tables: Tables,
        prepare: Callable[[], bool],
        *,
        working: AbstractContextManager[object],
        computing: AbstractContextManager[object],
        clock: Callable[[], float],
    ) -> None:
        self._changes = changes
        self._tables = tables
        self._prepare = prepare
        self._working = working
        self._computing = computing
        self._clock = clock
        self._permanent = PermanentRemoval(changes, tables, computing)
        self._replaced_s: dict[str, float] = {}

    def unread_rows(self, account_id: str) -> float | None:
        """Seconds since rows of an account were read last by new queries; None if it has no such rows.

        Running queries may still read them.
        """
        found = [one.since_s for one in self._changes.withdrawn() if one.day.account == account_id]
        found += [at_s for account, at_s in self._replaced_s.items() if account == account_id]
        return self._clock() - max(found) if found else None

    def remove_unread_rows(self, account_id: str) -> None:
        """Delete the rows of an account that no published day has, physically. Raises StoreError, OSError."""
        with self._working, store_errors():
            self._prepare()
            withdrawn = [one for one in self._changes.withdrawn() if one.day.account == account_id]
            live = ", ".join(
                f"(toDate('{one.day.date}'), {one.version})"
                for one in self._changes.all_published()
                if one.day.account == account_id
            )
            where = f"account = {literal(account_id)}" + (f" AND (day, version) NOT IN ({live})" if live else "")
            with self._computing:
                for unit in UNITS:
                    remove_rows(self._tables.client, table(unit, self._changes.epoch), where)
            self._permanent.remove_unread(account_id)
            self._changes.forget_withdrawn(withdrawn)
            self._replaced_s.pop(account_id, None)

    def forget_sessions(self, account_ids: Iterable[str]) -> None:
        """Delete the rows by session and by quarter-hour of finalised days, physically.

        No running query may read them: the days have been final for as long as a query takes. Nothing is deleted while
        space is short. Raises StoreError, OSError, sqlite3.Error.
        """
        before = {
            account: day for account in account_ids if (day := self._changes.finalised_before(account)) is not None
        }
        with self._working, store_errors():
            if not before or not self._prepare():
                return
            with self._computing:
                remove_days(self._tables.client, self._changes.epoch, before)
            self._changes.forget_withdrawn(
                one for one in self._changes.withdrawn() if one.day.date < before.get(one.day.account, date.min)
            )

    def remove_finalised(self, scope: SumScope) -> bool:
        """Leave the scope out of the permanent sums. Returns whether there was something. Raises StoreError, OSError.

        The rows with it are deleted by `remove_unread_rows`, when no running query reads them.
        """
        with self._working, store_errors():
            is_changed = bool(self._permanent.replace(scope))
            if is_changed:
                self._replaced_s[scope.account] = self._clock()
            return is_changed
