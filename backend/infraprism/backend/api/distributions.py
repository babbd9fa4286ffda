"""`/v1/analytics/distribution`: how cost, latency and tokens are distributed."""

from __future__ import annotations

from typing import Annotated

from infraprism.backend.analytics import distribution
from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.api.events import Limit
from infraprism.backend.api.filters import one_of
from infraprism.backend.api.periods import GroupByWithoutTime, PeriodQuery, Reader
from infraprism.schema import exact_json


class DistributionQuery(PeriodQuery):
    """The filters, what is distributed (`of`), over what (`per`), and the grouping."""

    of: Annotated[str, one_of(distribution.MEASURES)] = "cost_usd"
    per: Annotated[str, one_of(distribution.UNITS)] = "event"
    group_by: GroupByWithoutTime
    limit: Limit = 100


def values(reader: Reader, query: DistributionQuery) -> bytes:
    """The distributions as JSON: `{data: [group...], summary: {...}, has_more}`. Raises ApiError."""
    by, period = Grouping(tuple(query.group_by)), query.covered()
    source = reader.of_single_calls() if query.per == "event" else reader
    rows = source.rows(query, period, by, more=distribution.UNITS[query.per])
    total, groups, more = distribution.distribution(
        reader.database, rows, by, of=query.of, per=query.per, limit=query.limit
    )
    summary = {
        **total,
        "of": query.of,
        "per": query.per,
        "period": reader.described(period),
        "time_zone": query.time_zone,
    }
    return exact_json.dumps({"data": groups, "summary": summary, "has_more": more}).encode()
