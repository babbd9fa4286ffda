"""The reporting time zones of accounts: their days are the days of the aggregates by day."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from infraprism.backend.store.aggregates.changes import Changes
from infraprism.backend.store.aggregates.tables import Tables, by_account
from infraprism.backend.store.aggregates.zone_names import ZoneOf, is_same_zone

_CHECK_S: Final = 60.0


class ReportingZones:
    """Finds the published days of another time zone than that of their account. Used by one thread at a time."""

    def __init__(
        self, changes: Changes, tables: Tables, computing: AbstractContextManager[object], zone_of: ZoneOf
    ) -> None:
        self._changes = changes
        self._tables = tables
        self._computing = computing
        self._zone_of = zone_of
        self._compared: dict[str, str] = {}
        """The accounts of which all published days were compared with a zone."""
        self._due_s = float("-inf")

    def of(self, account_id: str) -> str:
        """The zone in which days are computed now. Raises StoreError."""
        zone = self._zone_of(account_id)
        if self._compared.get(account_id) != zone:
            self._compared.pop(account_id, None)
        return zone

    def withdraw_others(self, now_s: float, *, at_once: bool = False) -> None:
        """Withdraw the days of another zone that can be computed from their events. Once a minute, or `at_once`.

        Raises StoreError, ClickHouseError, sqlite3.Error.
        """
        if not self._changes.is_checked or (now_s < self._due_s and not at_once):
            return
        for account in self._changes.accounts():
            zone = self.of(account)
            if account not in self._compared:
                self._withdraw_others_of(account, zone, now_s)
                self._compared[account] = zone
        self._due_s = now_s + _CHECK_S

    def _withdraw_others_of(self, account: str, zone: str, now_s: float) -> None:
        _, published = self._changes.published(account, None, None)
        others = [found for found in published if not is_same_zone(found.time_zone, zone)]
        if others:
            with self._computing:
                counts = self._tables.event_counts(by_account(found.day for found in others))
            self._changes.withdraw([found for found in others if counts.get(found.day) == found.calls], now_s)
