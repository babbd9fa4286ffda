"""The hours, days, weeks and months of a period in a time zone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from infraprism.backend.analytics.periods import Period
from infraprism.backend.analytics.time_zones import EPOCH, MILLISECOND, milliseconds, start_of_day

INTERVALS: Final = ("hour", "day", "week", "month")
MAX_INTERVALS: Final = 2000
_DAY: Final = timedelta(days=1)
_LONGEST: Final = {"day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}


class Interval(NamedTuple):
    """An interval in milliseconds since 1970 (`end_ms` exclusive), and its start as text."""

    start_ms: int
    end_ms: int
    start: str


def intervals(period: Period, kind: str) -> list[Interval]:
    """The intervals that a period touches, without gaps. Raises ValueError if it has no start, or too many."""
    if period.first_ms is None:
        raise ValueError("a period without a start has no intervals: set start_date")
    zone = period.zone
    found: list[Interval] = []
    if kind == "hour":
        # Hours are cut at the offsets of the zone: a day has 23, 24 or 25, and half an hour can be left over.
        day = _local_date(period.first_ms, zone)
        while True:
            begin, end = start_of_day(day, zone), start_of_day(day + _DAY, zone)
            found += [one for one in _hours(begin, end, zone) if one.end_ms > period.first_ms]
            if found and found[-1].end_ms >= period.end_ms:
                break
            _check(found)
            day += _DAY
        found = [one for one in found if one.start_ms < period.end_ms]
    else:
        first, following, text = _CALENDAR[kind]
        day = first(_local_date(period.first_ms, zone))
        while milliseconds(start_of_day(day, zone)) < period.end_ms:
            after = following(day)
            start_ms, end_ms = (milliseconds(start_of_day(one, zone)) for one in (day, after))
            if start_ms < end_ms:  # a zone can leave out a day when it crosses the date line
                found.append(Interval(start_ms, end_ms, text(day)))
            _check(found)
            day = after
    _check(found)
    return found


def aligned(current: Period, before: Period, kind: str) -> dict[str, str]:
    """The intervals of an earlier period, each with that at the same place in the current one.

    If the earlier period has more, the intervals after the current one continue it. Raises ValueError, see `intervals`.
    """
    earlier = intervals(before, kind)
    found = intervals(current, kind)
    if missing := max(0, len(earlier) - len(found)):
        longer = replace(current, end=current.end + (missing + 1) * _LONGEST[kind])
        found = intervals(longer, kind)
    return {one.start: other.start for one, other in zip(earlier, found, strict=False)}


def _hours(begin: datetime, end: datetime, zone: ZoneInfo) -> list[Interval]:
    """The hours of a local day."""
    starts = [begin]
    while starts[-1] < end:
        starts.append(min(_next_hour(starts[-1], zone), end))
    return [
        Interval(milliseconds(start), milliseconds(after), start.astimezone(zone).isoformat())
        for start, after in itertools.pairwise(starts)
    ]


def _next_hour(moment: datetime, zone: ZoneInfo) -> datetime:
    """The next moment at which a clock in the zone shows a full hour or is changed."""
    local = moment.astimezone(zone)
    following = moment + timedelta(hours=1) - timedelta(minutes=local.minute, seconds=local.second)
    changed = moment
    quarter = timedelta(minutes=15)
    while (changed := changed + quarter) < following:
        if changed.astimezone(zone).utcoffset() != local.utcoffset():
            return changed
    return following


def _local_date(moment_ms: int, zone: ZoneInfo) -> date:
    return (EPOCH + moment_ms * MILLISECOND).astimezone(zone).date()


def _check(found: list[Interval]) -> None:
    if len(found) > MAX_INTERVALS:
        raise ValueError(f"the period has more than {MAX_INTERVALS} intervals: choose a longer interval")


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


_CALENDAR: Final[dict[str, tuple[Callable[[date], date], Callable[[date], date], Callable[[date], str]]]] = {
    "day": (lambda day: day, lambda day: day + _DAY, str),
    "week": (_monday, lambda day: day + 7 * _DAY, str),
    "month": (lambda day: day.replace(day=1), _next_month, lambda day: format(day, "%Y-%m")),
}
"""For each kind of interval of whole days: the first day of that of a day, the first day of the next, and its name."""
