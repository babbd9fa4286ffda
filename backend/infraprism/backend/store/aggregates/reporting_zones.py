"""The reporting time zones of accounts: their days are the days of the aggregates by day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

UTC_ZONE: Final = "UTC"
_UTC_NAMES: Final = frozenset({UTC_ZONE, "Etc/UTC"})
_CHECK_S: Final = 60.0
ZoneOf = Callable[[str], str]
"""The IANA name of the time zone of an account id. Raises StoreError if it is not known now."""


def utc(_account_id: str) -> str:
    """UTC, for every account."""
    return UTC_ZONE


def is_same_zone(one: str, other: str) -> bool:
    """Whether two names are certainly names of the same zone."""
    return one == other or {one, other} <= _UTC_NAMES


class ReportingZones:
    """Which accounts have a time zone that their published days were not compared with. Not thread-safe."""

    def __init__(self, zone_of: ZoneOf) -> None:
        self._zone_of = zone_of
        self._compared: dict[str, str] = {}
        self._due_s = float("-inf")

    def of(self, account_id: str) -> str:
        """The zone in which days are computed now. Raises StoreError."""
        zone = self._zone_of(account_id)
        if self._compared.get(account_id) != zone:
            self._compared.pop(account_id, None)
        return zone

    def is_due(self, now_s: float) -> bool:
        """Whether the zones have to be read again: once a minute."""
        return now_s >= self._due_s

    def changed(self, account_ids: Iterable[str], now_s: float) -> Iterator[tuple[str, str]]:
        """The accounts whose days have to be compared, and their zones. Raises StoreError."""
        for account_id in account_ids:
            zone = self.of(account_id)
            if account_id not in self._compared:
                yield account_id, zone
                self._compared[account_id] = zone
        self._due_s = now_s + _CHECK_S
