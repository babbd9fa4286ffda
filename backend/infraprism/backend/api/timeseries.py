"""`/v1/analytics/costs/timeseries`: exact sums of intervals."""

from __future__ import annotations

import time
from typing import Annotated, Final

from pydantic import Field

from infraprism.backend.analytics import intervals, timeseries
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import one_of
from infraprism.backend.api.periods import GroupByWithoutTime, PeriodQuery, Reader
from infraprism.backend.store.measured_rows import TimeUnit
from infraprism.schema import exact_json

_TOP: Final = 10
_MAX_GROUPS: Final = 50_000
"""Groups of all intervals."""


class TimeseriesQuery(PeriodQuery):
    """The filters, the interval and the grouping of a series. `top` groups are named, the others are one group."""

    interval: Annotated[str, one_of(intervals.INTERVALS)] = "day"
    group_by: GroupByWithoutTime
    top: Annotated[int, Field(ge=1, le=timeseries.MAX_TOP)] = _TOP


def series(reader: Reader, query: TimeseriesQuery) -> bytes:
    """The series as JSON: `{data: [interval...], groups: [group...], summary: {...}}`.

    The sums of the groups of an interval are the sums of the interval, and those of all intervals the summary.
    Raises ApiError.
    """
    period, by = query.covered(), Grouping(tuple(query.group_by))
    try:
        parts = intervals.intervals(period, query.interval)
    except ValueError as error:
        raise ApiError(400, "invalid_parameter", f"interval: {error}") from None
    if len(parts) * query.top > _MAX_GROUPS and by.keys:
        most = _MAX_GROUPS // len(parts)
        raise ApiError(400, "invalid_parameter", f"top: at most {most} for {len(parts)} intervals")
    unit: TimeUnit = "quarter_hour" if query.interval == "hour" else "day"
    rows = reader.rows(query, period, by, unit)
    # An interval without known events is left out: its sums are not 0.
    parts = [part for part in parts if part.end_ms > reader.excluded_before_ms(period)]
    found = timeseries.series(
        reader.database,
        rows,
        by,
        top=query.top,
        intervals=parts,
        whole_days=unit == "day",
    )
    now_ms = time.time_ns() // 10**6
    first_ms = max(period.first_ms or 0, reader.excluded_before_ms(period))
    for part, made in zip(parts, found.intervals, strict=True):
        # An interval that is not over, or not in the period as a whole, has fewer events than others.
        made["complete"] = part.end_ms <= min(now_ms, period.end_ms) and part.start_ms >= first_ms
    summary = {
        **found.total,
        "period": reader.described(period),
        "time_zone": query.time_zone,
        "interval": query.interval,
    }
    body = {"data": found.intervals, **({"groups": found.groups} if by.keys else {}), "summary": summary}
    return exact_json.dumps(body).encode()
