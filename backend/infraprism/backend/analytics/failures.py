"""Failed calls by group and category of the error."""

from __future__ import annotations

from typing import Any, Final

from infraprism.backend.analytics.grouping import TIME_ZONE, Grouping, quoted
from infraprism.backend.analytics.sums import select
from infraprism.backend.store.database import Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

_SUMS: Final = {
    "total_events": "sum(m.calls)",
    "failed_events": "sum(m.failed_calls)",
    "error_rate": "if(sum(m.calls) = 0, NULL, round(sum(m.failed_calls) / sum(m.calls), 4))",
    "error_types": "sumMap(map(toString(m.error_type), m.failed_calls))",
}


def by_group(
    database: Readable, relation: Relation, by: Grouping, *, time_zone: str, limit: int
) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """The failures of all calls, the rows of the groups with the most, and whether there are more groups.

    The failures of the `error_types` of a group are its `failed_events`.
    """
    keys = ", ".join(map(quoted, by.columns))
    order = ", ".join((*map(quoted, by.times), "failed_events DESC", "total_events DESC", keys))
    sets = f" GROUP BY GROUPING SETS (({keys}), ()) ORDER BY grouping({keys}) DESC, {order}" if keys else ""
    rows = [
        _failures(exact_json.loads(row))
        for row in database.read(
            f"SELECT {select({**by.columns, **_SUMS})} FROM {relation.sql} AS m{sets} LIMIT {{count:UInt64}}",
            {**relation.parameters, TIME_ZONE: time_zone, "count": limit + 2},
        )
    ]
    found = (rows[1:] if keys else rows) if rows[0]["total_events"] else []
    return {name: rows[0][name] for name in _SUMS}, found[:limit], len(found) > limit


def _failures(row: dict[str, Any]) -> dict[str, Any]:
    by_type = sorted(row["error_types"].items(), key=lambda one: (-one[1], one[0]))
    types = [{"error_type": name or None, "failed_events": failed} for name, failed in by_type if failed]
    return {**row, "error_types": types}
