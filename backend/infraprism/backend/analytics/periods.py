"""Periods of time: days of a time zone, or moments; and the period to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from infraprism.backend.analytics.time_zones import EPOCH, MILLISECOND, milliseconds, start_of_day

COMPARISONS: Final = ("previous", "weekday", "none")
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True)
class Period:
    """A period in a time zone. `start` and `end` are its first and last day (inclusive), or moments in UTC (inclusive).

    Without a `start` it begins with the first event.
    """

    start: date | datetime | None
    end: date | datetime
    zone: ZoneInfo

    @property
    def first_ms(self) -> int | None:
        """The first millisecond."""
        return None if self.start is None else milliseconds(self._moment(self.start))

    @property
    def end_ms(self) -> int:
        """The millisecond after the last one."""
        if isinstance(self.end, datetime):
            return milliseconds(self.end) + 1
        return milliseconds(start_of_day(self.end + _DAY, self.zone))

    @property
    def texts(self) -> dict[str, str | None]:
        """`start` and `end` as in responses: days, or times in UTC."""
        return {"start": None if self.start is None else _text(self.start), "end": _text(self.end)}

    def compared(self, comparison: str) -> Period | None:
        """The period to compare with; None without one.

        `previous` is the equally long period that ends where this one starts. `weekday` is this period, earlier by the
        smallest number of whole weeks so that both do not overlap. Raises ValueError if this one has no start, or the
        other one would begin before 1970.
        """
        if comparison == "none":
            return None
        if self.start is None:
            raise ValueError("a period without a start has no period before it: set start_date")
        try:
            found = self._before(self.start, by_weeks=comparison == "weekday")
            if found.first_ms is not None and found.first_ms >= 0:
                return found
        except OverflowError:
            pass
        raise ValueError("the period to compare with begins before 1970")

    def _before(self, start: date | datetime, *, by_weeks: bool) -> Period:
        if isinstance(start, datetime) or isinstance(self.end, datetime):
            length = (self.end_ms - milliseconds(self._moment(start))) * MILLISECOND
            first = self._moment(start)
            earlier = -(-length // _WEEK) * _WEEK if by_weeks else length
            if by_weeks:  # the same time of day, also if the offset of the zone changed
                first = (first.astimezone(self.zone) - earlier).astimezone(EPOCH.tzinfo)
                return Period(first, first + length - MILLISECOND, self.zone)
            return Period(first - earlier, first - MILLISECOND, self.zone)
        length = self.end - start + _DAY
        earlier = -(-length // _WEEK) * _WEEK if by_weeks else length
        return Period(start - earlier, self.end - earlier, self.zone)

    def _moment(self, start: date | datetime) -> datetime:
        return start if isinstance(start, datetime) else start_of_day(start, self.zone)


def _text(value: date | datetime) -> str:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    return str(value)
