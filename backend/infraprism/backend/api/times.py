"""Days and times of query parameters: the ISO 8601 forms that are accepted, and their first and last millisecond."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final, NamedTuple

EXPECTED: Final = "a date such as 2026-01-31, or a time such as 2026-01-31T10:30:00Z"
_RANGE: Final = "from 1970-01-01 to 2199-12-31"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

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
    """The first and the last millisecond of a day, or one time twice. `text` is its extended form in UTC."""

    first: datetime
    last: datetime
    text: str


def interval(value: str) -> Interval:
    """The interval of a day or a time. A day is a UTC day; a time without an offset is UTC.

    Raises ValueError, which does not contain the value.
    """
    day_text, separator, time_text = _split(value)
    try:
        day = _day(day_text)
        if not separator:
            first = datetime.combine(day, time(), UTC)
            last, text = first + timedelta(days=1) - _MILLISECOND, str(day)
        else:
            first = last = _instant(day, time_text)
            text = first.replace(tzinfo=None).isoformat() + "Z"
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None
    if not _EPOCH <= first < _LATEST:
        raise OutsideCalendarError(f"{EXPECTED}, {_RANGE}")
    return Interval(first, last, text)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MILLISECOND


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


def _instant(day: date, text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    microsecond = int((found["fraction"] or "0").ljust(6, "0")[:6])
    zone = UTC
    if found["sign"]:
        minutes = int(found["offset_minute"] or 0)
        if minutes > 59:  # noqa: PLR2004  # minutes of an hour
            raise ValueError
        offset = timedelta(hours=int(found["offset_hour"]), minutes=minutes)
        zone = timezone(-offset if found["sign"] == "-" else offset)
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    return datetime.combine(day, time(hour, minute, second, microsecond, zone)).astimezone(UTC)
