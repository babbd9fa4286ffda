"""The change of costs between two periods, by group, with its parts. See `bridge` for the method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Final

from infraprism.backend.analytics.bridge import PARTS, Cell, Measured, Weights, has_cache, split
from infraprism.backend.analytics.grouping import Grouping, quoted
from infraprism.backend.analytics.list_prices import rates
from infraprism.backend.analytics.sums import both, select
from infraprism.backend.store.database import Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

CELL: Final = ("provider", "model", "operation", "service_tier")
DIMENSIONS: Final = (*CELL, "cost_status")
"""The dimensions of measured rows: a row has either only priced calls or only unpriced ones."""
_DAY_MS: Final = 86_400_000
MAX_CELLS: Final = 5_000
_EXACT: Final = Context(prec=300)
_TOKENS: Final = {"input": "input_tokens", "output": "output_tokens", "cached": "cache_read_tokens"}
_PERIODS: Final = {"before": "m.is_previous", "now": "NOT m.is_previous"}


class TooManyCellsError(ValueError):
    """The grouping has more cells than can be compared."""


def changes(
    database: Readable, current: Relation, previous: Relation, by: Grouping, at_ms: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The change of all costs, and those of all groups, the largest first. Raises TooManyCellsError.

    A change is that of the sum of known costs. Its `parts` add up to it, and those of all groups to those of the whole.
    `at_ms` is the time of the prices by which tokens are weighted (milliseconds since 1970).
    """
    relation = both(current, previous)
    cell = {f"cell_{name}": f"toString(m.{name})" for name in CELL}
    measures = {
        f"{period}_{name}": sql for period, condition in _PERIODS.items() for name, sql in _measures(condition).items()
    }
    keys = ", ".join(map(quoted, (*by.columns, *cell)))
    rows = database.read(
        f"SELECT {select({**by.columns, **cell, **measures})} FROM {relation.sql} AS m GROUP BY {keys}"
        " LIMIT {count:UInt64}",
        {**relation.parameters, "count": MAX_CELLS + 1},
    )
    if len(rows) > MAX_CELLS:
        raise TooManyCellsError(f"more than {MAX_CELLS} groups of a model: choose another grouping, or filter")
    groups: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for row in map(exact_json.loads, rows):
        groups[tuple(row[name] for name in by.columns)].append(_cell(row, at_ms))
    every = [one for cells in groups.values() for one in cells]
    calls = sum(one.before.calls for one in every), sum(one.now.calls for one in every)
    found = [
        {**dict(zip(by.columns, key, strict=True)), **_row(cells, split(cells, *calls))}
        for key, cells in groups.items()
    ]
    found.sort(key=lambda row: (_EXACT.minus(_EXACT.abs(row["change"])), str([row[name] for name in by.columns])))
    # The sum of the rounded parts of the groups, so that these add up to it.
    parts = {part: _sum([row["parts"][part] or Decimal(0) for row in found]) for part in PARTS}
    return _row(every, parts), found if by.keys else []


def _measures(condition: str) -> dict[str, str]:
    priced = f"{condition} AND m.unpriced_calls = 0"
    found = {
        "calls": f"sumIf(m.calls, {condition})",
        "unpriced": f"sumIf(m.unpriced_calls, {condition})",
        "cost": f"sumIf(m.total_cost, {condition})",
    }
    for name, field in _TOKENS.items():
        found[name] = f"sumIf(m.{field}, {priced})"
        found[f"without_{name}"] = f"sumIf(m.calls_without_{field}, {priced})"
    return found


def _cell(row: dict[str, Any], at_ms: int) -> Cell:
    provider, model, _, tier = (row[f"cell_{name}"] for name in CELL)
    return Cell(_measured(row, "before"), _measured(row, "now"), _weights(provider, model, tier, at_ms))


def _measured(row: dict[str, Any], period: str) -> Measured:
    calls, priced = row[f"{period}_calls"], row[f"{period}_calls"] - row[f"{period}_unpriced"]
    without = {name: row[f"{period}_without_{name}"] for name in _TOKENS}
    tokens = {name: None if without[name] else row[f"{period}_{name}"] for name in _TOKENS}
    return Measured(
        calls,
        priced,
        Fraction(row[f"{period}_cost"] or 0),
        **tokens,
        is_partial=any(0 < without[name] < priced for name in ("input", "output")),
    )


def _weights(provider: str, model: str, tier: str, at_ms: int) -> Weights:
    """The relative prices of tokens in the price table; 1 where it has none."""
    found, _, _ = rates(provider, model, tier, at_ms // _DAY_MS)
    whole = found.get("input")
    if not whole:
        return Weights()
    return Weights(Fraction(found.get("output", whole), whole), Fraction(found.get("cache_read", whole), whole))


def _row(cells: Sequence[Cell], parts: dict[str, Decimal]) -> dict[str, Any]:
    now, before = _side([one.now for one in cells]), _side([one.before for one in cells])
    shown: dict[str, Decimal | None] = dict(parts)
    if not any(map(has_cache, cells)):
        shown["cache"] = None  # it is in the price
    return {"now": now, "before": before, "change": _sum(parts.values()), "parts": shown}


def _side(sides: Sequence[Measured]) -> dict[str, Any]:
    calls, priced = sum(one.calls for one in sides), sum(one.priced for one in sides)
    units = sum((one.cost for one in sides), Fraction(0)) * 10**18
    cost = None if calls and not priced else _EXACT.scaleb(Decimal(int(units)), -18)
    return {"total_cost": cost, "total_events": calls, "unpriced_events": calls - priced}


def _sum(numbers: Any) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = _EXACT.add(total, number)
    return total
