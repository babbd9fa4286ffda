"""`/v1/analytics/forecast`: the cost of the current week or month."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from typing import Annotated, Any, Final

from infraprism.backend.analytics import forecast, time_zones, timeseries
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.analytics.intervals import intervals
from infraprism.backend.analytics.periods import Period
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import Filters, one_of
from infraprism.backend.api.periods import Reader
from infraprism.schema import exact_json

_EXACT: Final = Context(prec=300)
_DAY: Final = timedelta(days=1)


class ForecastQuery(Filters):
    """The filters, without dates, and what is forecast: the current `week` (from Monday) or `month`."""

    until: Annotated[str, one_of(("week", "month"))] = "month"


def of_period(reader: Reader, query: ForecastQuery) -> bytes:
    """The forecast as JSON. Raises ApiError."""
    if query.start_date is not None or query.end_date is not None:
        raise ApiError(400, "invalid_parameter", "start_date, end_date: not with a forecast, which has `until`")
    zone = time_zones.zone(query.time_zone)
    today = datetime.now(zone).date()
    first, last = _current(query.until, today)
    read = Period(min(first, today - forecast.MAX_DAYS * _DAY), today, zone)
    found = timeseries.series(
        reader.database,
        reader.rows(query, read, Grouping(), "day"),
        Grouping(),
        top=1,
        intervals=intervals(read, "day"),
        whole_days=True,
    )
    body = {
        **expected(found.intervals, first, last),
        "period": Period(first, last, zone).texts | reader.note(read.first_ms, read.end_ms),
        "time_zone": query.time_zone,
    }
    return exact_json.dumps(body).encode()


def expected(days: Sequence[dict[str, Any]], first: date, last: date) -> dict[str, Any]:
    """The forecast of the period from `first` to `last`, from the sums of its days and those before, until today."""
    *complete, today = days
    left = (last - date.fromisoformat(today["start"])).days + 1  # with today
    inside = [day for day in days if day["start"] >= str(first)]
    so_far = _sum(day["total_cost"] for day in inside)
    events = sum(day["total_events"] for day in inside)
    unpriced = sum(day["unpriced_events"] for day in inside)
    # The days before the first event are not days without cost.
    begin = next((number for number, day in enumerate(complete) if day["total_events"]), len(complete))
    history = [day["total_cost"] or Decimal(0) for day in complete[begin:]]
    body: dict[str, Any] = {
        "so_far": None if events and unpriced == events else so_far,
        "total_events": events,
        "unpriced_events": unpriced,
        "days_left": left,
        "days_of_history": min(len(history), forecast.MAX_DAYS),
        **dict.fromkeys(("expected", "low", "high", "confidence", "method")),
        "reason": f"{forecast.MIN_DAYS} complete days since the first event are needed, there are {len(history)}",
    }
    made = forecast.forecast([Decimal(cost) for cost in history], left)
    if made is None:
        return body
    known = _sum(day["total_cost"] for day in inside if day is not today)
    middle = _EXACT.add(known, made.expected)
    bounds = {
        "expected": middle,
        "low": _EXACT.subtract(middle, made.margin),
        "high": _EXACT.add(middle, made.margin),
    }
    return {
        **body,
        # What was spent is spent.
        **{name: forecast.rounded(max(bound, Decimal(so_far))) for name, bound in bounds.items()},
        "confidence": forecast.CONFIDENCE,
        "method": made.method,
        "reason": None,
    }


def _current(kind: str, today: date) -> tuple[date, date]:
    """The first and the last day of the week or month of a day."""
    if kind == "week":
        monday = today - today.weekday() * _DAY
        return monday, monday + 6 * _DAY
    following = (today.replace(day=1) + 31 * _DAY).replace(day=1)
    return today.replace(day=1), following - _DAY


def _sum(costs: Iterable[Decimal | int | None]) -> Decimal:
    total = Decimal(0)
    for cost in costs:
        total = _EXACT.add(total, cost or 0)
    return total
