"""`/v1/analytics/changes`: why costs differ between two periods."""

from __future__ import annotations

from infraprism.backend.analytics import changes
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.events import Limit
from infraprism.backend.api.periods import ComparedQuery, GroupByWithoutTime, Reader
from infraprism.schema import exact_json


class ChangeQuery(ComparedQuery):
    """The filters, the two periods (`compare` is `previous` by default) and the grouping."""

    group_by: GroupByWithoutTime
    limit: Limit = 100


def split(reader: Reader, query: ChangeQuery) -> bytes:
    """The changes as JSON: `{data: [group...], summary: {...}, has_more}`. Raises ApiError."""
    by, period = Grouping(tuple(query.group_by)), query.covered()
    before = query.compared(period, default="previous")
    if before is None:
        raise ApiError(400, "invalid_parameter", "compare: previous or weekday, or compare_start and compare_end")
    try:
        total, rows = changes.changes(
            reader.database,
            reader.rows(query, period, by, more=changes.DIMENSIONS),
            reader.rows(query, before, by, more=changes.DIMENSIONS),
            by,
            before.end_ms,
        )
    except changes.TooManyCellsError as error:
        raise ApiError(400, "invalid_parameter", f"group_by: {error}") from None
    summary = {
        **total,
        "period": reader.described(period),
        "previous_period": reader.described(before),
        "time_zone": query.time_zone,
    }
    body = {"data": rows[: query.limit], "summary": summary, "has_more": len(rows) > query.limit}
    return exact_json.dumps(body).encode()
