"""`/v1/analytics/latency` and `/v1/analytics/errors`."""

from __future__ import annotations

from infraprism.backend.analytics import failures, latency
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.api.events import Limit
from infraprism.backend.api.periods import GroupBy, PeriodQuery, Reader
from infraprism.schema import exact_json


class GroupedQuery(PeriodQuery):
    """The filters and the grouping. `group_by` is one key or two."""

    group_by: GroupBy
    limit: Limit = 100


def latencies(reader: Reader, query: GroupedQuery) -> bytes:
    """The quantiles as JSON: `{data: [group...], summary: {...}, has_more}`. Raises ApiError."""
    by, period = Grouping(tuple(query.group_by)), query.covered()
    total, rows, more = latency.by_group(
        reader.database, reader.rows(query, period, by), by, time_zone=query.time_zone, limit=query.limit
    )
    summary = {**total, "period": reader.described(period), "time_zone": query.time_zone}
    return exact_json.dumps({"data": rows, "summary": summary, "has_more": more}).encode()


def errors(reader: Reader, query: GroupedQuery) -> bytes:
    """The failures as JSON: `{data: [group...], summary: {...}, has_more}`. Raises ApiError."""
    by, period = Grouping(tuple(query.group_by)), query.covered()
    rows = reader.rows(query, period, by, more=("error_type",))
    total, groups, more = failures.by_group(reader.database, rows, by, time_zone=query.time_zone, limit=query.limit)
    summary = {**total, "period": reader.described(period), "time_zone": query.time_zone}
    return exact_json.dumps({"data": groups, "summary": summary, "has_more": more}).encode()
