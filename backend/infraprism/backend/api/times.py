"""Days and times of query parameters: the ISO 8601 forms that are accepted, and their first and last millisecond."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

from infraprism.backend.analytics.time_zones import EPOCH, MILLISECOND, start_of_day

EXPECTED: Final = "a date such as 2026-01-31, or a time such as 2026-01-31T10:30:00Z"
_RANGE: Final = "from 1970-01-01 to 2199-12-31"
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

_DAY: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:"
    r"(?P<dash>-?)(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})"
    r"|(?P<week_dash>-?)W(?P<week>[0-9]{2})(?P=week_dash)(?P<weekday>[1-7])"
    r"|-?(?P<ordinal>[0-9]{3}))"
)
"""A calendar date, a week date or an ordinal date, extended (with dashes) or basic."""
_TIME: Final = re.compile(
    r"(?P<hour>[0-9]{2})(?:(?P<colon>:?)(?P<minute>[0-9]{2})(?:(?P=colon)(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?)?)?"
    r"(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<offset_hour>[0-9]{2})(?::?(?P<offset_minute>[0-9]{2}))?)?"
)
"""A time of day, extended or basic, with or without an offset."""


class OutsideCalendarError(ValueError):
    """A day or a time that no event can have."""


class Interval(NamedTuple):
    """The first and the last millisecond of a day, or one time twice, in UTC.

    `text` is its extended form: the day, or the time in UTC. `day` is None for a time.
    """

    first: datetime
    last: datetime
    text: str
    day: date | None


def interval(value: str, zone: tzinfo = UTC) -> Interval:
    """The interval of a day in a time zone, or of a time, which is in that zone if it has no offset.

    Raises ValueError, which does not contain the value.
    """
    day_text, separator, time_text = _split(value)
    try:
        day = _day(day_text)
        if not separator:
            first = start_of_day(day, zone)
            last, text = start_of_day(day + timedelta(days=1), zone) - MILLISECOND, str(day)
        else:
            first = last = _instant(day, time_text, zone)
            text = first.replace(tzinfo=None).isoformat() + "Z"
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None
    if not EPOCH <= first < _LATEST:
        raise OutsideCalendarError(f"{EXPECTED}, {_RANGE}")
    return Interval(first, last, text, None if separator else day)


def _split(value: str) -> tuple[str, str, str]:
    """The day, the separator and the time. An unescaped + in a query string is decoded as a space."""
    for separator in ("T", "t", " "):
        day, found, rest = value.partition(separator)
        if found:
            return day, found, rest.replace(" ", "+")
    return value, "", ""


def _day(text: str) -> date:
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError
    year = int(found["year"])
    if found["month"]:
        return date(year, int(found["month"]), int(found["day"]))
    if found["week"]:
        return date.fromisocalendar(year, int(found["week"]), int(found["weekday"]))
    day = date(year, 1, 1) + timedelta(days=int(found["ordinal"]) - 1)
    if day.year != year:
        raise ValueError
    return day


def _instant(day: date, text: str, zone: tzinfo) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    microsecond = int((found["fraction"] or "0").ljust(6, "0")[:6])
    if found["utc"]:
        zone = UTC
    if found["sign"]:
        minutes = int(found["offset_minute"] or 0)
        if minutes > 59:  # noqa: PLR2004  # minutes of an hour
            raise ValueError
        offset = timedelta(hours=int(found["offset_hour"]), minutes=minutes)
        zone = timezone(-offset if found["sign"] == "-" else offset)
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    return datetime.combine(day, time(hour, minute, second, microsecond, zone)).astimezone(UTC)
