"""Names of time zones of accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

UTC_ZONE: Final = "UTC"
_UTC_NAMES: Final = frozenset({UTC_ZONE, "Etc/UTC"})
ZoneOf = Callable[[str], str]
"""The IANA name of the time zone of an account id. Raises StoreError if it is not known now."""


def utc(_account_id: str) -> str:
    """UTC, for every account."""
    return UTC_ZONE


def is_same_zone(one: str, other: str) -> bool:
    """Whether two names are certainly names of the same zone."""
    return one == other or {one, other} <= _UTC_NAMES
