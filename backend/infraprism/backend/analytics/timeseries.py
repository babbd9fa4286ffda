"""Sums of intervals, by the groups with the highest cost and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from infraprism.backend.analytics.grouping import Grouping
from infraprism.backend.analytics.intervals import Interval
from infraprism.backend.analytics.sums import select, sums
from infraprism.backend.store.database import Parameter, Readable
from infraprism.backend.store.measured_rows import Relation
from infraprism.schema import exact_json

MAX_TOP: Final = 100
_HALF_DAY_S: Final = 43_200
_NONE: Final = MAX_TOP + 1
"""The place of the events without a key. The named groups have the places from 1, all others 0."""
_SUMS: Final = ("total_cost", "total_events", "unpriced_events", "failed_events", "unpriced_failed_events")
_EMPTY: Final = dict.fromkeys(_SUMS, 0)


@dataclass(frozen=True)
class Series:
    """The intervals of a response, its groups, and the sums of all."""

    intervals: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    total: dict[str, Any]


def series(
    database: Readable, relation: Relation, by: Grouping, *, top: int, intervals: Sequence[Interval], whole_days: bool
) -> Series:
    """The sums of each interval and of its groups. The sums of the parts are the sums of the whole.

    A group has the keys of the grouping and `kind`: `named` (the `top` groups with the highest cost), `none` (events
    without the key) or `other` (all others in one). `relation` has the day of each row (`whole_days`), or its
    quarter-hour.
    """
    named = _named(database, relation, by, top) if by.keys else []
    starts = [one.start_ms // 1000 for one in intervals]
    sets = "(start, place), (start), (place), ()" if by.keys else "(start), ()"
    parameters: dict[str, Parameter] = {**relation.parameters, "starts": starts}
    # The middle of a day is in it, also if the store's rules of the time zone are older than those of the intervals.
    moment = "toInt64(toUnixTimestamp(m.time))" + (f" + {_HALF_DAY_S}" if whole_days else "")
    columns = {"start": f"roundDown({moment}, {{starts:Array(Int64)}})"}
    if by.keys:
        columns["place"] = _place(by, len(named))
        parameters |= {"top_keys": [_key_text(group, by) for group in named]}
    picked = {name: sql for name, sql in sums().items() if name in _SUMS}
    flags = {f"every_{name}": f"grouping({name})" for name in columns}
    rows = database.read(
        f"SELECT {select({**columns, **picked, **flags})} FROM {relation.sql} AS m GROUP BY GROUPING SETS ({sets})",
        parameters,
    )
    return _series([exact_json.loads(row) for row in rows], by, named, intervals)


def _named(database: Readable, relation: Relation, by: Grouping, top: int) -> list[dict[str, Any]]:
    """The keys of the groups with the highest cost."""
    keys = ", ".join(f"`{name}`" for name in by.columns)
    is_none = " AND ".join(f"`{name}` IS NULL" for name in by.columns)
    rows = database.read(
        f"SELECT {select(by.columns)} FROM {relation.sql} AS m GROUP BY {keys} HAVING NOT ({is_none})"
        f" ORDER BY sum(m.total_cost) DESC NULLS LAST, {keys} LIMIT {{top:UInt64}}",
        {**relation.parameters, "top": top},
    )
    return [exact_json.loads(row) for row in rows]


def _place(by: Grouping, named: int) -> str:
    """The SQL of the place of a row."""
    columns = by.columns.values()
    is_none = " AND ".join(f"{sql} IS NULL" for sql in columns)
    key = ", '\n', ".join(f"if({sql} IS NULL, '', concat('=', assumeNotNull({sql})))" for sql in columns)
    text = f"concat({key})"
    places = f"[{', '.join(map(str, range(1, named + 1)))}]"
    place = f"transform({text}, {{top_keys:Array(String)}}, {places}, 0)" if named else "0"
    return f"toInt32(if({is_none}, {_NONE}, {place}))"


def _key_text(group: dict[str, Any], by: Grouping) -> str:
    """The keys of a group as one text. No key contains a line break."""
    return "\n".join("" if group[name] is None else f"={group[name]}" for name in by.columns)


def _series(
    rows: list[dict[str, Any]], by: Grouping, named: list[dict[str, Any]], intervals: Sequence[Interval]
) -> Series:
    kinds = {place: {**keys, "kind": "named"} for place, keys in enumerate(named, 1)}
    absent = dict.fromkeys(by.columns)
    kinds |= {0: {**absent, "kind": "other"}, _NONE: {**absent, "kind": "none"}}
    order = {place: number for number, place in enumerate((*range(1, len(named) + 1), 0, _NONE))}
    total, of_interval, of_group = dict(_EMPTY), {}, {}
    parts: dict[int, dict[int, dict[str, Any]]] = {}
    for row in rows:
        measured = {name: row[name] for name in _SUMS}
        match (row["every_start"], row.get("every_place", 1)):
            case (1, 1):
                total = measured
            case (0, 1):
                of_interval[row["start"]] = measured
            case (1, 0):
                of_group[row["place"]] = measured
            case _:
                parts.setdefault(row["start"], {})[row["place"]] = measured
    found = []
    for one in intervals:
        start = one.start_ms // 1000
        made: dict[str, Any] = {"start": one.start, **of_interval.get(start, _EMPTY)}
        if by.keys:
            groups = parts.get(start, {})
            made["groups"] = [{**kinds[place], **groups[place]} for place in sorted(groups, key=order.__getitem__)]
        found.append(made)
    return Series(
        found, [{**kinds[place], **of_group[place]} for place in sorted(of_group, key=order.__getitem__)], total
    )
