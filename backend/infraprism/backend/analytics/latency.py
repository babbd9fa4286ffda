"""Quantiles of latency by group, from the buckets of measured rows."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from math import ceil, isqrt
from typing import Any, Final

from infraprism.backend.analytics.grouping import TIME_ZONE, Grouping, quoted
from infraprism.backend.analytics.sums import select
from infraprism.backend.store.database import Readable
from infraprism.backend.store.measured_rows import ZERO_BUCKET, Relation
from infraprism.schema import exact_json

QUANTILES: Final = {
    "p50_latency_ms": Fraction(1, 2),
    "p95_latency_ms": Fraction(95, 100),
    "p99_latency_ms": Fraction(99, 100),
}
_DECIMALS: Final = ((100, 2), (1000, 1))
"""Digits after the point below a latency, so that rounding adds little to the error of the bucket."""


def by_group(
    database: Readable, relation: Relation, by: Grouping, *, time_zone: str, limit: int
) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """The latencies of all calls, those of the groups with the most calls, and whether there are more groups."""
    columns = {
        **by.columns,
        "total_events": "sum(m.calls)",
        "avg_latency_ms": "accurateCastOrNull(round(sum(m.latency_ms) / sum(m.calls)), 'UInt64')",
        "buckets": "sumMap(m.latency)",
    }
    keys = ", ".join(map(quoted, by.columns))
    order = f"grouping({keys}) DESC, {', '.join((*map(quoted, by.times), 'total_events DESC'))}, {keys}"
    sets = f" GROUP BY GROUPING SETS (({keys}), ()) ORDER BY {order} LIMIT {{count:UInt64}}" if keys else ""
    rows = [
        _measured(exact_json.loads(row))
        for row in database.read(
            f"SELECT {select(columns)} FROM {relation.sql} AS m{sets}",
            {**relation.parameters, TIME_ZONE: time_zone, "count": limit + 2},
        )
    ]
    total = rows[0]
    groups = (rows[1:] if keys else rows) if total["total_events"] else []
    return (
        {name: total[name] for name in ("total_events", "avg_latency_ms", *QUANTILES)},
        groups[:limit],
        len(groups) > limit,
    )


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    buckets = {int(bucket): calls for bucket, calls in row.pop("buckets").items()}
    return {**row, **{name: quantile(buckets, share) for name, share in QUANTILES.items()}}


def quantile(buckets: Mapping[int, int], share: Fraction) -> float | int | None:
    """The latency in ms that `share` of the calls do not exceed (nearest rank), from the calls per bucket.

    At most 2.3 % off; None without calls.
    """
    rank = ceil(share * sum(buckets.values()))
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank <= 0:
            return _latency(bucket)
    return None


@cache
def _latency(bucket: int) -> float | int:
    """The latency with the smallest relative distance to all whole milliseconds of a bucket."""
    if bucket == ZERO_BUCKET:
        return 0
    lowest, highest = _upper_bound(bucket - 1) + 1, _upper_bound(bucket)
    middle = Fraction(2 * lowest * highest, lowest + highest)
    for bound, digits in _DECIMALS:
        if middle < bound:
            return round(float(middle), digits) if middle.denominator > 1 else int(middle)
    return round(middle)


def _upper_bound(bucket: int) -> int:
    """The largest whole number of milliseconds up to 2^((bucket + 1) / 16)."""
    if bucket < -1:
        return 0
    bound: int = 1 << (bucket + 1)
    for _ in range(4):  # the 16th root
        bound = isqrt(bound)
    return bound
