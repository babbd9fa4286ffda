"""The distribution of cost, latency and tokens over calls, sessions and entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from infraprism.backend.analytics.grouping import Grouping, quoted
from infraprism.backend.analytics.sums import select
from infraprism.backend.store.database import Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

QUANTILES: Final = ("0.5", "0.9", "0.95", "0.99")


@dataclass(frozen=True)
class Measure:
    """What is distributed: the column of measured rows, the calls without it, and the decades of the bins."""

    column: str
    calls_without: str
    type: str
    first_exponent: int
    last_exponent: int

    @property
    def bounds(self) -> tuple[Decimal, ...]:
        """The lower bounds of the bins: 0, and 1, 2 and 5 times the powers of ten."""
        exponents = range(self.first_exponent, self.last_exponent + 1)
        return (Decimal(0), *(Decimal((0, (digit,), exponent)) for exponent in exponents for digit in (1, 2, 5)))


MEASURES: Final = {
    "cost_usd": Measure("total_cost", "m.unpriced_calls", "Decimal(76, 18)", -18, 18),
    "latency_ms": Measure("latency_ms", "toUInt64(0)", "UInt64", 0, 18),
    "total_tokens": Measure("total_tokens", "m.calls_without_total_tokens", "UInt64", 0, 18),
}
UNITS: Final[dict[str, tuple[str, ...]]] = {
    "event": (),
    "session": ("session_id",),
    "entity": ("entity_type", "entity_id"),
}
"""The dimensions that are one value: those of a session, of an entity, or of a single call."""


def distribution(
    database: Readable, relation: Relation, by: Grouping, *, of: str, per: str, limit: int
) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """The distribution of all values, those of the groups with the most, and whether there are more groups.

    For `per` "event" each row of `relation` is one call. A value is without a number if none of its calls has one, and
    `incomplete` if some have none. The quantile q of n values is the one at place floor(q * n) + 1 in their order.
    """
    measure = MEASURES[of]
    bounds = ", ".join(f"'{bound:f}'" for bound in measure.bounds)
    value = f"assumeNotNull(u.{quoted('value')})"
    # Numbers of bins take half the CPU time of their bounds as text.
    array = f"CAST([{bounds}], 'Array({measure.type})')"
    bins = len(measure.bounds)
    bin_number = f"transform(roundDown({value}, {array}), {array}, range(toUInt16({bins})), toUInt16({bins}))"
    columns = {
        **{name: f"u.{quoted(name)}" for name in by.columns},
        "count": "count(u.value)",
        "without_value": "countIf(u.value IS NULL AND u.unassigned = 0)",
        "incomplete": "countIf(u.value IS NOT NULL AND u.without > 0)",
        "unassigned_events": "sum(u.unassigned)",
        "total": "sum(u.value)",
        "min": "min(u.value)",
        "max": "max(u.value)",
        "quantiles": f"quantilesExact({', '.join(QUANTILES)})(u.value)",
        "bins": f"countIfResample(0, {bins}, 1)(u.value IS NOT NULL, {bin_number})",
    }
    keys = ", ".join(map(quoted, by.columns))
    sets = f" GROUP BY GROUPING SETS (({keys}), ()) ORDER BY grouping({keys}) DESC, count DESC, {keys}" if keys else ""
    rows = [
        _shown(exact_json.loads(row), measure.bounds)
        for row in database.read(
            f"SELECT {select(columns)} FROM {_units(relation, by, measure, per)} AS u{sets} LIMIT {{count:UInt64}}",
            {**relation.parameters, "count": limit + 2},
        )
    ]
    found = rows[1:] if keys else rows
    found = [row for row in found if row["count"] or row["without_value"] or row["unassigned_events"]]
    return {name: rows[0][name] for name in columns if name not in by.columns}, found[:limit], len(found) > limit


def _units(relation: Relation, by: Grouping, measure: Measure, per: str) -> str:
    """A SELECT with one row per value, and one of each group for the calls that belong to no session or entity."""
    dimensions = UNITS[per]
    if not dimensions:
        columns = {
            **by.columns,
            "value": f"m.{measure.column}",
            "without": "toUInt64(0)",
            "unassigned": "toUInt64(0)",
        }
        return f"(SELECT {select(columns)} FROM {relation.sql} AS m)"
    is_assigned = " AND ".join(f"unit_{name} != ''" for name in dimensions)
    units = {f"unit_{name}": f"toString(m.{name})" for name in dimensions}
    columns = {
        **by.columns,
        **units,
        "value": f"if({is_assigned}, sum(m.{measure.column}), NULL)",
        "without": f"sum({measure.calls_without})",
        "unassigned": f"if({is_assigned}, 0, sum(m.calls))",
    }
    grouped = ", ".join(map(quoted, (*by.columns, *units)))
    return f"(SELECT {select(columns)} FROM {relation.sql} AS m GROUP BY {grouped})"


def _shown(row: dict[str, Any], bounds: Sequence[Decimal]) -> dict[str, Any]:
    known = row["count"] > 0
    counts = row["bins"]
    places = [place for place, count in enumerate(counts) if count]
    shown = range(places[0], places[-1] + 1) if places else range(0)
    ends = [*bounds[1:], None]
    return {
        **row,
        "total": row["total"] if known else None,
        "min": row["min"] if known else None,
        "max": row["max"] if known else None,
        "quantiles": dict(zip(QUANTILES, row["quantiles"] if known else [None] * len(QUANTILES), strict=True)),
        "bins": [{"from": bounds[place], "to": ends[place], "count": counts[place]} for place in shown],
    }
