"""Reads the events of an account that are not expired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from infraprism.backend.store import Database
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.quoting import literal

WITH_EXPIRED: Final = "sums_of_expired_events"
"""The parameter of a statement that sums whole days, also of events that are expired and not deleted yet."""


class RetainedEvents:
    """The database, as the queries of one account see it.

    No statement sees an expired event, or an event of another account, whatever its conditions are. Only one with the
    parameter `WITH_EXPIRED` sees both: its relation has only sums that outlive the events.
    """

    def __init__(self, database: Database, account_id: str, cutoff_ms: int) -> None:
        self._database = database
        self._condition = (
            f"account = {literal(account_id)} AND timestamp >= fromUnixTimestamp64Milli({cutoff_ms}, 'UTC')"
        )

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """See Database."""
        if WITH_EXPIRED not in parameters:
            return self._database.read(sql, parameters, events=self._condition)
        bound = {name: value for name, value in parameters.items() if name != WITH_EXPIRED}
        return self._database.read(sql, bound)
