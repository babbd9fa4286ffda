"""Which events of an account are expired."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Row, Update, select, update
from sqlalchemy.dialects import postgresql, sqlite

from infraprism.backend.accounts import plans
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.retention.tables import ACCOUNT_RETENTION

DAY_MS: Final = 86_400_000
_CACHE_S: Final = 2.0
_CACHE_SIZE: Final = 65_536
MAX_DAYS: Final = 36_500


_PERIODS: Final = select(
    ACCOUNTS.c.id,
    ACCOUNTS.c.plan,
    ACCOUNTS.c.retention_days,
    ACCOUNT_RETENTION.c.days,
    ACCOUNT_RETENTION.c.deleted_before_day,
).select_from(ACCOUNTS.outerjoin(ACCOUNT_RETENTION, ACCOUNT_RETENTION.c.account_id == ACCOUNTS.c.id))


class Retention:
    """The periods of the accounts of a database. Thread-safe.

    A period is a number of whole UTC days after the day of an event: an event of a period of 7 days expires at the
    eighth midnight after its start. `clock` returns Unix seconds. A change of a plan or of a period counts after two
    seconds in other processes. Every method raises DatabaseUnavailableError.
    """

    def __init__(
        self, database: RelationalDatabase, clock: Callable[[], float] = time.time, *, region: str | None = None
    ) -> None:
        self._database = database
        self._region = region
        self.clock: Final = clock
        self._cache: dict[str, tuple[float, int | None, int]] = {}

    def cutoff_ms(self, account_id: str, now_s: float | None = None) -> int | None:
        """Events that start before it, in milliseconds since 1970, are expired. None: no event expires.

        It is midnight UTC. It never goes back to events that were deleted.
        """
        days, deleted_before_ms = self._period(account_id)
        if days is None:
            return deleted_before_ms or None
        today = int((self.clock() if now_s is None else now_s) * 1000) // DAY_MS
        return max((today - days) * DAY_MS, deleted_before_ms)

    def days(self, account_id: str) -> int | None:
        """The period of an account in days. None: no event expires."""
        return self._period(account_id)[0]

    def plan_days(self, account_id: str) -> int | None:
        """The period of the plan of an account in days. None: without limit."""
        rows = self._database.rows(_PERIODS.where(ACCOUNTS.c.id == account_id))
        return _plan_days(rows[0]) if rows else None

    def deleted_before_ms(self, account_id: str) -> int:
        """Events that start before it were deleted. 0: none were."""
        return self._period(account_id)[1]

    def set_days(self, account_id: str, days: int | None) -> None:
        """Set a period that is shorter than that of the plan, or without `days` use that. Raises ValueError."""
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise ValueError(f"a period has 1 to {MAX_DAYS} days")
        self._set(account_id, update(ACCOUNT_RETENTION).values(days=days))

    def set_deleted(self, account_id: str, before_ms: int) -> None:
        """Events that start before this midnight UTC are deleted from now on, for ever."""
        is_later = ACCOUNT_RETENTION.c.deleted_before_day < before_ms // DAY_MS
        self._set(account_id, update(ACCOUNT_RETENTION).where(is_later).values(deleted_before_day=before_ms // DAY_MS))

    def all_cutoffs_ms(self) -> dict[str, int]:
        """The cutoffs of all accounts that have one."""
        today = int(self.clock() * 1000) // DAY_MS
        found: dict[str, int] = {}
        for row in self._database.rows(_PERIODS):
            days, deleted_before_ms = _read(row)
            cutoff_ms = deleted_before_ms if days is None else max((today - days) * DAY_MS, deleted_before_ms)
            if cutoff_ms > 0:
                found[row.id] = cutoff_ms
        return found

    def all_deleted_before_ms(self) -> dict[str, int]:
        """The times before which events were deleted, of all accounts that had some."""
        return {
            row.account_id: row.deleted_before_day * DAY_MS
            for row in self._database.rows(select(ACCOUNT_RETENTION))
            if row.deleted_before_day
        }

    def account_ids(self) -> list[str]:
        """The accounts of the region of this server."""
        own = ACCOUNTS.c.region.is_not_distinct_from(self._region)
        return [row.id for row in self._database.rows(select(ACCOUNTS.c.id).where(own))]

    def _set(self, account_id: str, change: Update) -> None:
        with self._database.transaction() as connection:
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
            row = insert(ACCOUNT_RETENTION).values(account_id=account_id)
            connection.execute(row.on_conflict_do_nothing())
            connection.execute(change.where(ACCOUNT_RETENTION.c.account_id == account_id))
        self._cache.pop(account_id, None)

    def _period(self, account_id: str) -> tuple[int | None, int]:
        now_s = time.monotonic()
        cached = self._cache.get(account_id)
        if cached is not None and now_s - cached[0] <= _CACHE_S:
            return cached[1:]
        rows = self._database.rows(_PERIODS.where(ACCOUNTS.c.id == account_id))
        days, deleted_before_ms = _read(rows[0]) if rows else (None, 0)
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[account_id] = now_s, days, deleted_before_ms
        return days, deleted_before_ms


def _plan_days(row: Row[Any]) -> int | None:
    return plans.limits(row.plan, retention_days=row.retention_days).retention_days


def _read(row: Row[Any]) -> tuple[int | None, int]:
    allowed = [days for days in (row.days, _plan_days(row)) if days is not None]
    return min(allowed, default=None), (row.deleted_before_day or 0) * DAY_MS
