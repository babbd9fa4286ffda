"""The statements that compute the cubes of some days from the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from infraprism.backend.store.aggregates.cubes import DIMENSIONS, STORED, Cube, Unit, table
from infraprism.backend.store.quoting import literal
from infraprism.backend.store.schema import EVENTS

SETTINGS: Final = (
    "max_threads = 1, max_insert_threads = 1, max_partitions_per_insert_block = 0, group_by_use_nulls = 0,"
    " max_memory_usage = 1500000000, max_bytes_before_external_group_by = 500000000"
)
"""One thread, so that requests keep the other cores."""
DAY: Final = "toDate(timestamp, 'UTC')"
_WITH_TAGS: Final = f"{EVENTS} ARRAY JOIN CAST(tags, 'Array(Tuple(String, String))') AS tag"
Days = Mapping[str, Sequence[date]]
"""Days by account."""


def insert(
    cubes: Sequence[Cube],
    days: Days,
    version: int,
    epoch: int,
    without_keys: Mapping[date, Sequence[str]],
    *,
    time_zone: str,
) -> str:
    """The statement that inserts cubes of these days. They have the same unit, and all or none are by tag.

    `without_keys` are tag keys that are not summed on a day; only with a single account. The rows by day are of days of
    `time_zone`: a UTC day has calls of two of them, or three.
    """
    unit, is_by_tag = cubes[0].unit, cubes[0].is_by_tag
    keys = ("account", "day", "time", *(("tag_key", "tag_value") if is_by_tag else ()))
    sets = ", ".join(f"({', '.join((*keys, *cube.dimensions))})" for cube in cubes)
    names = ("account", "cube", "day", "version", "time", "tag_key", "tag_value", *DIMENSIONS, *STORED)
    used = {name for cube in cubes for name in cube.dimensions}
    selected = (
        "account",
        _number(cubes),
        f"{DAY} AS day",
        f"toUInt64({version})",
        f"toDateTime({_time(unit, time_zone)}, 'UTC') AS time",
        *(("tag.1 AS tag_key", "tag.2 AS tag_value") if is_by_tag else ("''", "''")),
        *(name if name in used else f"defaultValueOfTypeName('{DIMENSIONS[name]}')" for name in DIMENSIONS),
        *(sql for _, sql in STORED.values()),
    )
    where = f"({condition(days)})"
    pairs = ", ".join(f"({_date(day)}, {literal(key)})" for day, found in without_keys.items() for key in found)
    if is_by_tag and pairs:
        where += f" AND ({DAY}, tag.1) NOT IN ({pairs})"
    return (
        f"INSERT INTO {table(unit, epoch)} ({', '.join(names)}) SELECT {', '.join(selected)}"
        f" FROM {_WITH_TAGS if is_by_tag else EVENTS} WHERE {where} GROUP BY GROUPING SETS ({sets}) SETTINGS {SETTINGS}"
    )


def _time(unit: Unit, time_zone: str) -> str:
    if unit == "quarter_hour":
        return "toStartOfFifteenMinutes(timestamp)"
    return f"toStartOfDay(timestamp, {literal(time_zone)})"


def midnights(first: date, end: date, time_zone: str) -> str:
    """The statement that finds at which seconds since 1970 the days of a zone begin, of the UTC days before `end`.

    The engine is asked, since it computes the rows: its database of zones may be another one than that of Python.
    """
    start = f"{midnight(first)} + toIntervalMinute(15 * number)"
    return (
        f"SELECT DISTINCT toInt64(toUnixTimestamp(toStartOfDay({start}, {literal(time_zone)}))) AS start_s"
        f" FROM numbers({(end - first).days * 96})"
    )


def _number(cubes: Sequence[Cube]) -> str:
    """The number of the cube that a row of the grouping sets belongs to."""
    every = sorted({name for cube in cubes for name in cube.dimensions})
    tests = (
        f"{' AND '.join(f'grouping({name}) = {int(name not in cube.dimensions)}' for name in every)}, {cube.number}"
        for cube in cubes[:-1]
    )
    return (
        f"toUInt8(multiIf({', '.join((*tests, str(cubes[-1].number)))}))"
        if cubes[1:]
        else f"toUInt8({cubes[0].number})"
    )


def sizes(cubes: Sequence[Cube], days: Days, time_zone: str) -> str:
    """The statement that estimates the rows that each cube would have, by account and day.

    Those of a cube by tag are by tag key as well.
    """
    unit_columns = [f"{_rows_of(cube, time_zone)} AS cube_{cube.number}" for cube in cubes]
    key = "tag.1" if cubes[0].is_by_tag else "''"
    return (
        f"SELECT account, toString({DAY}) AS day, {key} AS tag_key, count() AS calls, {', '.join(unit_columns)}"
        f" FROM {_WITH_TAGS if cubes[0].is_by_tag else EVENTS} WHERE {condition(days)} GROUP BY account, day, tag_key"
        f" SETTINGS {SETTINGS}"
    )


def _rows_of(cube: Cube, time_zone: str) -> str:
    tag = ("tag.2",) if cube.is_by_tag else ()
    return f"uniqCombined(12)({', '.join((_time(cube.unit, time_zone), *tag, *cube.dimensions))})"


def condition(days: Days) -> str:
    """The condition on events that selects these days."""
    parts = []
    for account, found in days.items():
        ranges = " OR ".join(
            f"timestamp >= {midnight(first)} AND timestamp < {midnight(end)}" for first, end in runs(found)
        )
        parts.append(f"account = {literal(account)} AND ({ranges})")
    return " OR ".join(f"({part})" for part in parts) or "false"


def runs(days: Iterable[date]) -> list[tuple[date, date]]:
    """Runs of consecutive days: the first day, and the day after the last."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and found[-1][1] == day:
            found[-1] = (found[-1][0], day + timedelta(days=1))
        else:
            found.append((day, day + timedelta(days=1)))
    return found


def midnight(day: date) -> str:
    """The start of a UTC day."""
    return f"toDateTime64('{day} 00:00:00', 3, 'UTC')"


def _date(day: date) -> str:
    return f"toDate('{day}')"
