"""What is stored: the sets of dimensions that are summed, the measures, and the tables that have them as columns.

A cube is the sums of all calls by one set of dimensions and by time. The cubes of a time unit share a table. A query is
answered from the smallest cube that has its dimensions. All columns are generated from the field table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

from infraprism.backend.store import schema
from infraprism.backend.store.measured_rows import TOKEN_FIELDS, latency_bucket
from infraprism.schema import fields
from infraprism.schema.fields import FIELDS

Unit = Literal["day", "quarter_hour"]
UNITS: Final[tuple[Unit, ...]] = ("day", "quarter_hour")


@dataclass(frozen=True)
class Cube:
    """Sums by `dimensions` and time. `number` identifies its rows in the table of its unit, for ever.

    With `is_by_tag` a call counts once per tag, under its key and value; calls without tags are not in the cube. Only
    with `is_kept` its rows outlive the events: those of sessions and of quarter-hours do not.
    """

    number: int
    unit: Unit
    dimensions: tuple[str, ...]
    is_by_tag: bool = False
    is_kept: bool = True


_OUTCOME: Final = ("success", "cost_status")
_CALL: Final = ("model", "provider", "operation", "service_tier", "success", "error_type", "cost_status")
_ENTITY: Final = ("entity_type", "entity_id")
CUBES: Final = (
    Cube(1, "day", _CALL),
    Cube(8, "day", _ENTITY),
    Cube(2, "day", (*_ENTITY, *_OUTCOME)),
    Cube(9, "day", (*_ENTITY, "model", "provider", "operation")),
    Cube(3, "day", (*_ENTITY, *_CALL)),
    Cube(11, "day", ("session_id", *_ENTITY), is_kept=False),
    Cube(10, "day", (), is_by_tag=True),
    Cube(4, "day", _OUTCOME, is_by_tag=True),
    Cube(5, "quarter_hour", _CALL, is_kept=False),
    Cube(6, "quarter_hour", (*_ENTITY, *_OUTCOME), is_kept=False),
    Cube(7, "quarter_hour", _OUTCOME, is_by_tag=True, is_kept=False),
)
"""Those of a unit from the smallest to the largest."""
PERMANENT_CUBES: Final = frozenset(cube.number for cube in CUBES if cube.is_kept)
"""Those of days that outlive the events."""
PERMANENT: Final = 0
"""Instead of an epoch: the table of the sums that outlive the events. It is never made anew."""

_CUBE_FIELDS: Final = tuple(field for field in FIELDS if field.name in {"session_id", *_ENTITY, *_CALL})
DIMENSIONS: Final[Mapping[str, str]] = {field.name: schema.column_type(field) for field in _CUBE_FIELDS}
"""The columns of dimensions, and their types."""
_TOKENS: Final = tuple(field for field in FIELDS if field.name in TOKEN_FIELDS)
_RARE: Final = frozenset(field.name for field in _TOKENS if field.presence == "opt_in")
"""Most calls have no value: the calls with one are counted. Of the others the calls without one are counted."""


def _counted(name: str) -> str:
    return f"calls_with_{name}" if name in _RARE else f"calls_without_{name}"


STORED: Final[Mapping[str, tuple[str, str]]] = {
    "calls": ("UInt64", "count()"),
    "failed_calls": ("UInt64", "countIf(NOT success)"),
    "unpriced_calls": ("UInt64", "countIf(cost_usd IS NULL)"),
    "unpriced_failed_calls": ("UInt64", "countIf(cost_usd IS NULL AND NOT success)"),
    **{name: ("UInt64", f"sum(toUInt64(ifNull({name}, 0)))") for name in TOKEN_FIELDS},
    **{
        _counted(name): ("UInt64", f"count({name})" if name in _RARE else f"countIf({name} IS NULL)")
        for name in TOKEN_FIELDS
    },
    "total_cost": (f"Decimal(76, {fields.MAX_COST_DIGITS})", "sum(toDecimal256(ifNull(cost_usd, 0), 18))"),
    "latency_ms": ("UInt64", "sum(toUInt64(latency_ms))"),
    "latency": ("Map(Int16, UInt64)", f"sumMap(map({latency_bucket('latency_ms')}, toUInt64(1)))"),
    "first_time": ("DateTime64(3, 'UTC')", "min(timestamp)"),
    "last_time": ("DateTime64(3, 'UTC')", "max(timestamp)"),
}
"""The columns of measures: their types, and their expressions over events. An unknown value counts as 0 in a sum."""


def _measure(name: str) -> str:
    """A measure of a token field. The sum of no value is unknown, not 0."""
    nothing = f"stored.{_counted(name)} = 0" if name in _RARE else f"stored.{_counted(name)} = stored.calls"
    return f"if({nothing}, NULL, stored.{name})"


def _without(name: str) -> str:
    counted = f"stored.{_counted(name)}"
    return f"toUInt64(stored.calls - {counted})" if name in _RARE else counted


MEASURES: Final[Mapping[str, str]] = {
    **{name: f"stored.{name}" for name in ("calls", "failed_calls", "unpriced_calls", "unpriced_failed_calls")},
    **{name: _measure(name) for name in TOKEN_FIELDS},
    **{f"calls_without_{name}": _without(name) for name in TOKEN_FIELDS},
    "total_cost": "if(stored.unpriced_calls = stored.calls, NULL, stored.total_cost)",
    "latency_ms": "stored.latency_ms",
    "latency": "stored.latency",
}
"""The measures of `measured_rows`, as expressions over the columns of `stored`."""


def table(unit: Unit, epoch: int) -> str:
    """The name of a table. A new epoch begins when the tables are made anew: queries of an earlier one fail then."""
    return f"sums_by_{unit}_{epoch}"


def is_table(name: str) -> bool:
    """Whether a table has aggregates, of any epoch."""
    return name.startswith(tuple(f"sums_by_{unit}_" for unit in UNITS))


def create_table(unit: Unit, epoch: int) -> str:
    """The statement that creates the table of a unit."""
    columns = [f"{name} {column_type}" for name, column_type in DIMENSIONS.items()]
    columns += [f"{name} {column_type} CODEC(ZSTD(1))" for name, (column_type, _) in STORED.items()]
    sql = resources.files(schema.__package__ or "").joinpath("sql", "sums.sql").read_text(encoding="utf-8")
    return schema.with_settings(
        sql.replace("/* name */", table(unit, epoch))
        .replace("/* columns of cubes */", ",\n    ".join(columns))
        .replace("/* dimensions */", ", ".join(DIMENSIONS))
    )
