"""The reporting time zones of accounts, for the aggregates of the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates.zone_names import UTC_ZONE

_CACHE_S: Final = 30.0
_OTHERS: Final = select(ACCOUNTS.c.id, ACCOUNTS.c.time_zone).where(ACCOUNTS.c.time_zone != UTC_ZONE)


class AccountZones:
    """Reads the zones of all accounts at most once in half a minute. `clock` returns monotonic seconds."""

    def __init__(self, database: RelationalDatabase, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._read: tuple[float, dict[str, str]] | None = None

    def of(self, account_id: str) -> str:
        """The IANA name of the zone of an account; UTC if it is unknown. Raises StoreError."""
        now_s = self._clock()
        if self._read is None or now_s - self._read[0] > _CACHE_S:
            try:
                self._read = now_s, {row.id: row.time_zone for row in self._database.rows(_OTHERS)}
            except DatabaseUnavailableError:
                raise StoreError from None
        return self._read[1].get(account_id, UTC_ZONE)
