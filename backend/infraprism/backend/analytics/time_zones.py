"""Time zones by their IANA names, and the moments at which their days begin."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
_NOT_NAMES: Final = frozenset({"localtime", "posixrules", "Factory"})
"""Files of a system's database that name no zone."""


@cache
def names() -> frozenset[str]:
    """The names of all zones."""
    return frozenset(zoneinfo.available_timezones()) - _NOT_NAMES | {"UTC"}


def zone(name: str) -> ZoneInfo:
    """The time zone of a name. Raises ValueError, which does not contain the name."""
    if name not in names():
        raise ValueError("the IANA name of a time zone, such as Europe/Berlin or UTC")
    return ZoneInfo(name)


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day, in UTC: the first of two midnights; without a midnight the first time that exists."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return (moment - EPOCH) // MILLISECOND
