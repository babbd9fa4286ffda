"""Exact sums of measured rows, by group, optionally for two periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infraprism.backend.analytics.grouping import TIME_ZONE, Grouping, quoted
from infraprism.backend.store.database import Parameter, Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

_ZERO: Final = "toDecimal256(0, 18)"
PREVIOUS: Final = ("total_cost", "total_events", "unpriced_events", "failed_events", "unpriced_failed_events")
"""The sums of the period that is compared with."""
SESSIONS: Final = "total_sessions"
_HAS_SESSION: Final = "m.session_id != ''"
_PREVIOUS_TYPES: Final = ", ".join(
    f"{name} {'Nullable(Decimal(76, 18))' if name == 'total_cost' else 'UInt64'}" for name in PREVIOUS
)
CHANGE: Final = "total_cost - tupleElement(previous, 'total_cost')"
"""SQL of the change of the cost, on a row with `previous`."""


def sums(condition: str | None = None) -> dict[str, str]:
    """The SQL of the sums of a row, on measured rows `m`; with a condition of those rows that satisfy it.

    The cost of no event is 0. The cost of events is NULL if none of them has one.
    """

    def total(column: str) -> str:
        return f"sum(m.{column})" if condition is None else f"sumIf(m.{column}, {condition})"

    calls, failed = total("calls"), total("failed_calls")
    return {
        "total_cost": f"if({calls} = 0, {_ZERO}, {total('total_cost')})",
        "total_events": calls,
        "total_input_tokens": f"if({calls} = 0, 0, {total('input_tokens')})",
        "total_output_tokens": f"if({calls} = 0, 0, {total('output_tokens')})",
        "avg_latency_ms": f"accurateCastOrNull(round({total('latency_ms')} / {calls}), 'UInt64')",
        "unpriced_events": total("unpriced_calls"),
        "failed_events": failed,
        "unpriced_failed_events": total("unpriced_failed_calls"),
        "error_rate": f"if({calls} = 0, NULL, round({failed} / {calls}, 4))",
    }


def select(columns: Mapping[str, str]) -> str:
    """The columns of a SELECT."""
    return ", ".join(f"{sql} AS {quoted(name)}" for name, sql in columns.items())


@dataclass(frozen=True)
class Page:
    """Which groups are returned: sorted by `order` (SQL on the columns of a row), `limit` of them after `offset`."""

    order: str
    limit: int
    offset: int = 0


@dataclass(frozen=True)
class Found:
    """The sums of all groups (`total`), the rows of a page as JSON, and whether more groups follow it."""

    total: dict[str, Any]
    rows: list[bytes]
    has_more: bool


@dataclass(frozen=True)
class Earlier:
    """The period that is compared with.

    `aligned` has, by the name of a grouping by time, the names of its intervals in the earlier period, each with the
    interval of the current period that is compared with it.
    """

    relation: Relation
    aligned: Mapping[str, Mapping[str, str]]


def grouped(
    database: Readable,
    current: Relation,
    previous: Earlier | None,
    *,
    by: Grouping,
    time_zone: str,
    page: Page,
    with_sessions: bool = False,
) -> Found:
    """The sums of the groups of one statement.

    With a `previous` relation a row also has `previous`, the sums of its group in there. Groups that are only in there
    are rows of 0 events. `with_sessions` adds the number of different sessions; the rows have the session then.
    """
    condition = None if previous is None else "NOT m.is_previous"
    columns = sums(condition)
    if with_sessions:
        columns[SESSIONS] = f"uniqExactIf(m.session_id, {' AND '.join(filter(None, (_HAS_SESSION, condition)))})"
    if previous is not None:
        columns["previous"] = _previous()
    relation = current if previous is None else both(current, previous.relation)
    parameters: dict[str, Parameter] = {**relation.parameters, TIME_ZONE: time_zone}
    keys = by.columns
    for key, names in ({} if previous is None else previous.aligned).items():
        parameters |= {f"earlier_{key}": list(names), f"aligned_{key}": list(names.values())}
        other = f"transform({keys[key]}, {{earlier_{key}:Array(String)}}, {{aligned_{key}:Array(String)}})"
        keys[key] = f"if(m.is_previous, {other}, {keys[key]})"
    if not keys:
        (row,) = database.read(f"SELECT {select(columns)} FROM {relation.sql} AS m", parameters)
        total = exact_json.loads(row)
        events = total["total_events"] + total.get("previous", {}).get("total_events", 0)
        rows = [row] if events else []
        return Found(total, rows[page.offset :], has_more=False)
    group = ", ".join(map(quoted, keys))
    order = f"is_total DESC, {page.order}"
    found = database.read(
        "SELECT * EXCEPT (is_total, position)"
        f" FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS position"
        f" FROM (SELECT {select({**keys, **columns})}, grouping({group}) AS is_total FROM {relation.sql} AS m"
        f" GROUP BY GROUPING SETS (({group}), ()) ORDER BY {order} LIMIT {{page_end:UInt64}}))"
        " WHERE position = 1 OR position > {page_start:UInt64} ORDER BY position",
        {**parameters, "page_start": page.offset + 1, "page_end": page.offset + page.limit + 2},
    )
    rows = found[1:]
    return Found(exact_json.loads(found[0]), rows[: page.limit], len(rows) > page.limit)


def _previous() -> str:
    before = sums("m.is_previous")
    return f"CAST(tuple({', '.join(before[name] for name in PREVIOUS)}), 'Tuple({_PREVIOUS_TYPES})')"


def both(current: Relation, previous: Relation) -> Relation:
    """The rows of both, with the column `is_previous`."""
    before = previous.renamed("previous_")
    return Relation(
        f"(SELECT *, false AS is_previous FROM {current.sql} UNION ALL"
        f" SELECT *, true AS is_previous FROM {before.sql})",
        {**current.parameters, **before.parameters},
    )
