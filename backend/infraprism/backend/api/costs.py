"""`/v1/analytics/costs`: exact sums of cost and tokens."""

from __future__ import annotations

from typing import Annotated, Any, Final

from infraprism.backend.analytics import sums
from infraprism.backend.analytics.grouping import Grouping, quoted
from infraprism.backend.analytics.intervals import aligned
from infraprism.backend.analytics.periods import Period
from infraprism.backend.analytics.sums import CHANGE, Earlier, Found, Page
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import one_of
from infraprism.backend.api.periods import ComparedQuery, GroupBy, Limit, Offset, Order, Reader
from infraprism.schema import exact_json

_SORTED: Final = (
    "total_cost",
    "total_events",
    "total_input_tokens",
    "total_output_tokens",
    "avg_latency_ms",
    "unpriced_events",
    "failed_events",
    "error_rate",
)
_SUMMED: Final = (
    "total_cost",
    "total_events",
    "unpriced_events",
    "failed_events",
    "unpriced_failed_events",
    "error_rate",
)
"""The sums of the summary."""


class CostQuery(ComparedQuery):
    """The filters, the grouping and the order of sums.

    `group_by` is one key or two. Without `sort`, groups are sorted by time, then by cost. `key` sorts by the keys,
    `change` by the change of the cost. With `total_sessions` a row has the number of different sessions.
    """

    group_by: GroupBy
    sort: Annotated[str, one_of((*_SORTED, "key", "change"))] | None = None
    order: Order | None = None
    limit: Limit = 10_000
    offset: Offset = 0
    total_sessions: bool = False


def summary(reader: Reader, query: CostQuery) -> bytes:
    """The sums as JSON: `{data: [group...], summary: {...}, has_more}`.

    A cost or token sum is null if no event of the group has a value; `unpriced_events` counts the events without a
    cost. The summary covers all groups, also those that are not on this page. Raises ApiError.
    """
    by = Grouping(tuple(query.group_by))
    period = query.covered()
    before = query.compared(period)
    if before is None and query.sort == "change":
        raise ApiError(400, "invalid_parameter", "sort: change needs compare")
    more = ("session_id",) if query.total_sessions else ()
    found = sums.grouped(
        reader.database,
        reader.rows(query, period, by, more=more),
        None if before is None else Earlier(reader.rows(query, before, by, more=more), _aligned(period, before, by)),
        by=by,
        time_zone=query.time_zone,
        page=Page(_order(query, by), query.limit, query.offset),
        with_sessions=query.total_sessions,
    )
    models = _models(reader, query, period) if query.model else None
    return _response_body(reader, found, query, period, before, models=models)


def _aligned(period: Period, before: Period, by: Grouping) -> dict[str, dict[str, str]]:
    try:
        return {key: aligned(period, before, key) for key in by.times}
    except ValueError as error:
        raise ApiError(400, "invalid_parameter", f"group_by: {error}") from None


def _models(reader: Reader, query: CostQuery, period: Period) -> list[str]:
    """The models that the model filter found."""
    rows = reader.rows(query, period, Grouping(("model",)))
    found = reader.read(f"SELECT DISTINCT toString(m.model) AS model FROM {rows.sql} AS m ORDER BY model", rows, query)
    return [exact_json.loads(row)["model"] for row in found]


def _order(query: CostQuery, by: Grouping) -> str:
    keys = [quoted(name) for name in by.columns]
    direction = (query.order or ("asc" if query.sort == "key" else "desc")).upper()
    if query.sort == "key":
        return ", ".join(f"{key} {direction} NULLS LAST" for key in keys)
    times = [] if query.sort else [quoted(name) for name in by.times]
    value = CHANGE if query.sort == "change" else query.sort or "total_cost"
    return ", ".join((*times, f"{value} {direction} NULLS LAST", *keys))


def _response_body(
    reader: Reader, found: Found, query: CostQuery, period: Period, before: Period | None, *, models: list[str] | None
) -> bytes:
    names = (*_SUMMED, sums.SESSIONS) if query.total_sessions else _SUMMED
    total: dict[str, Any] = {name: found.total[name] for name in names}
    total |= {"period": reader.described(period), "time_zone": query.time_zone}
    if before is not None:
        total["previous"] = {**found.total["previous"], "period": reader.described(before)}
    if models is not None:
        total["models"] = models
    more = b"true" if found.has_more else b"false"
    # Rows are copied as the store wrote them, so that no float rounds a cost.
    data = b",".join(found.rows)
    return b'{"data":[' + data + b'],"summary":' + exact_json.dumps(total).encode() + b',"has_more":' + more + b"}"
