"""Plans measured rows: from aggregates where the days have them, and from the events for the rest of the period."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from infraprism.backend.store.aggregates.cubes import CUBES, MEASURES, PERMANENT, STORED, Cube, Unit, table
from infraprism.backend.store.aggregates.finalised import Kept
from infraprism.backend.store.aggregates.published import Published
from infraprism.backend.store.aggregates.zone_names import UTC_ZONE, is_same_zone
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.measured_rows import MeasuredRows, Relation

EventRows = Callable[[MeasuredRows], Relation]
"""The measured rows of a request from the events alone, one per call."""
Source = Callable[[MeasuredRows], Relation]
"""The measured rows of a request."""

_DAY_MS: Final = 86_400_000
_QUARTER_HOUR_MS: Final = 900_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TAG: Final = ["tag_key", "tag_value"]
_MAX_RANGES: Final = 64
"""Of the events. Beyond it the days between them are read from the events as well."""


@dataclass(frozen=True)
class _Covered:
    """A published day: the unit that answers it, and the covered milliseconds of it."""

    published: Published
    unit: Unit
    first_ms: int
    end_ms: int


def plan(request: MeasuredRows, epoch: int, published: Iterable[Published], event_rows: EventRows) -> Relation | None:
    """The rows of a request, or None if none of them can be read from aggregates."""
    chosen = _chosen_cubes(request)
    if not chosen:
        return None
    first_ms = -_DAY_MS if request.first_ms is None else request.first_ms
    covered = [
        found for item in published if (found := _covered(item, request, chosen, first_ms, request.end_ms)) is not None
    ]
    covered, ranges = _limited(covered, request.first_ms, request.end_ms)
    if not covered:
        return None
    parameters = _parameters(request)
    parts = []
    for unit, cubes in chosen.items():
        days = [found for found in covered if found.unit == unit]
        if days:
            parts.append(_stored_rows(request, unit, cubes, days, epoch))
    names = ", ".join(_names(request))
    for rows in _event_parts(request, ranges, event_rows):
        parts.append(f"SELECT {names} FROM {rows.sql}")
        parameters |= rows.parameters
    return Relation(f"({' UNION ALL '.join(parts)})", parameters)


class NotFinalError(Exception):
    """A period has finalised days, and their sums do not answer the request."""


def with_kept(request: MeasuredRows, kept: Kept, relation: Source, event_rows: EventRows) -> Relation:
    """The rows of a request: of finalised days from their permanent sums, and from `relation` for the days after them.

    Raises NotFinalError.
    """
    before_ms = _milliseconds(kept.before)
    cubes = _chosen_cubes(request).get("day", ())
    first_ms = -_DAY_MS if request.first_ms is None else request.first_ms
    days = [_covered(item, request, {"day": cubes}, first_ms, request.end_ms) for item in kept.days]
    if None in days or not cubes or not all(cube.is_kept for cube in cubes):
        raise NotFinalError
    if request.end_ms is None or request.end_ms > before_ms:
        rest = relation(replace(request, first_ms=before_ms))
    else:
        rest = event_rows(replace(request, first_ms=0, end_ms=0))
    if not kept.days:
        return rest
    parameters: dict[str, Parameter] = {**rest.parameters, **_parameters(request)}
    stored = _stored_rows(request, "day", cubes, [one for one in days if one is not None], PERMANENT)
    return Relation(f"({stored} UNION ALL SELECT {', '.join(_names(request))} FROM {rest.sql})", parameters)


def _parameters(request: MeasuredRows) -> dict[str, Parameter]:
    """The bound parameters of stored rows."""
    parameters: dict[str, Parameter] = {**request.parameters, "rows_account": request.account_id}
    if request.time_unit == "day":
        parameters["rows_time_zone"] = request.time_zone
    if request.tag_key is not None:
        parameters["rows_tag_value"] = request.tag_key
    return parameters


def is_permanent(request: MeasuredRows) -> bool:
    """Whether the sums of days that outlive the events answer a request, apart from its bounds and its days."""
    cubes = _chosen_cubes(request).get("day", ())
    return bool(cubes) and all(cube.is_kept for cube in cubes)


def _chosen_cubes(request: MeasuredRows) -> dict[Unit, tuple[Cube, ...]]:
    """By unit: the cubes that have the dimensions. For a tag: the cube by tag, and that of all calls."""
    is_by_tag = request.tag_key is not None
    # The times of the calls without a tag are not those of all calls and of the calls with it.
    if request.event_conditions or request.other_tag_key is not None or (is_by_tag and request.with_times):
        return {}
    if any("session_id" in condition for condition in request.conditions):
        return {}  # the events have an index of sessions
    found: dict[Unit, tuple[Cube, ...]] = {}
    for unit in _units(request):
        fitting = [cube for cube in CUBES if cube.unit == unit and set(request.dimensions) <= set(cube.dimensions)]
        tagged = [cube for cube in fitting if cube.is_by_tag]
        plain = [cube for cube in fitting if not cube.is_by_tag]
        if request.every_tag and tagged:
            found[unit] = (tagged[0],)
        elif plain and not request.every_tag and (tagged or not is_by_tag):
            found[unit] = (tagged[0], plain[0]) if is_by_tag else (plain[0],)
    return found


def _units(request: MeasuredRows) -> tuple[Unit, ...]:
    return ("quarter_hour",) if request.time_unit == "quarter_hour" else ("day", "quarter_hour")


def _covered(
    item: Published, request: MeasuredRows, chosen: dict[Unit, tuple[Cube, ...]], first_ms: int, end_ms: int | None
) -> _Covered | None:
    """What the aggregates of a day answer of a request."""
    start_ms = _milliseconds(item.day.date)
    first_ms = max(first_ms, start_ms)
    end_ms = start_ms + _DAY_MS if end_ms is None else min(end_ms, start_ms + _DAY_MS)
    # The rows by day are divided at the midnights of their zone, and at no other time of the UTC day.
    starts = {start_ms, start_ms + _DAY_MS, *(at_s * 1000 for at_s in item.midnights_s)}
    by_day = {first_ms, end_ms} <= starts and first_ms < end_ms
    if request.time_unit == "day" and not is_same_zone(request.time_zone, UTC_ZONE):  # each row is of one UTC day
        by_day = by_day and is_same_zone(request.time_zone, item.time_zone)
    for unit, cubes in chosen.items():
        has_cubes = all(cube.number in item.cubes for cube in cubes)
        if has_cubes and not _lacks_tags(request, item.unsummed_keys.get(unit, ())):
            if unit == "day" and by_day:
                return _Covered(item, unit, first_ms, end_ms)
            first, end = -(-first_ms // _QUARTER_HOUR_MS), end_ms // _QUARTER_HOUR_MS
            if unit == "quarter_hour" and first < end:
                return _Covered(item, unit, first * _QUARTER_HOUR_MS, end * _QUARTER_HOUR_MS)
    return None


def _lacks_tags(request: MeasuredRows, unsummed: Sequence[str]) -> bool:
    return bool(unsummed) if request.every_tag else request.tag_key in unsummed


def _limited(
    covered: Sequence[_Covered], first_ms: int | None, end_ms: int | None
) -> tuple[list[_Covered], list[tuple[int | None, int | None]]]:
    """The covered days, and the ranges of the events that are not covered."""
    runs: list[list[_Covered]] = []
    for found in covered:
        if runs and runs[-1][-1].end_ms == found.first_ms:
            runs[-1].append(found)
        else:
            runs.append([found])
    if len(runs) > _MAX_RANGES:
        longest = {id(run) for run in sorted(runs, key=len)[-_MAX_RANGES:]}
        runs = [run for run in runs if id(run) in longest]
    ranges: list[tuple[int | None, int | None]] = []
    start = first_ms
    for run in runs:
        if start is None or start < run[0].first_ms:
            ranges.append((start, run[0].first_ms))
        start = run[-1].end_ms
    if end_ms is None or start is None or start < end_ms:
        ranges.append((start, end_ms))
    return [found for run in runs for found in run], ranges


def _event_parts(
    request: MeasuredRows, ranges: Sequence[tuple[int | None, int | None]], event_rows: EventRows
) -> Iterable[Relation]:
    """The rows of the events in the ranges: one SELECT, limited to the first and the last of them."""
    if not ranges:
        return
    inner = " OR ".join(f"({_in_range(first, end)})" for first, end in ranges)
    bounded = replace(
        request,
        first_ms=ranges[0][0],
        end_ms=ranges[-1][1],
        event_conditions=(f"({inner})",) if len(ranges) > 1 else (),
    )
    yield event_rows(bounded)


def _in_range(first_ms: int | None, end_ms: int | None) -> str:
    bounds = []
    if first_ms is not None:
        bounds.append(f"timestamp >= fromUnixTimestamp64Milli({first_ms}, 'UTC')")
    if end_ms is not None:
        bounds.append(f"timestamp < fromUnixTimestamp64Milli({end_ms}, 'UTC')")
    return " AND ".join(bounds) or "true"


def _names(request: MeasuredRows) -> list[str]:
    tags = ["tag_value"] if request.tag_key is not None else _TAG * request.every_tag
    return ["time", *request.dimensions, *tags, *MEASURES, *_times(request)]


def _times(request: MeasuredRows) -> list[str]:
    return ["first_time", "last_time"] if request.with_times else []


def _stored_rows(
    request: MeasuredRows, unit: Unit, cubes: tuple[Cube, ...], days: Sequence[_Covered], epoch: int
) -> str:
    """The SELECT of the stored rows of some days."""
    where = (
        f"stored.account = {{rows_account:String}} AND stored.day BETWEEN toDate('{days[0].published.day.date}')"
        f" AND toDate('{days[-1].published.day.date}')"
        f" AND (toUInt16(stored.day), stored.version) IN ({_versions(days)})"
    )
    # Only the first and the last day can be covered in part. A row by day can begin before its UTC day.
    for found, sign, at_ms, whole_ms in (
        (days[0], ">=", days[0].first_ms, _milliseconds(days[0].published.day.date)),
        (days[-1], "<", days[-1].end_ms, _milliseconds(days[-1].published.day.date) + _DAY_MS),
    ):
        if at_ms != whole_ms:
            date_of = f"toDate('{found.published.day.date}')"
            where += f" AND (stored.day != {date_of} OR stored.time {sign} toDateTime({at_ms // 1000}, 'UTC'))"
    name, time = table(unit, epoch), _time(request, unit)
    if request.every_tag:
        return _measured(request, name, f"stored.cube = {cubes[0].number} AND {where}", time)
    if request.tag_key is None:
        return _measured(request, name, f"stored.cube = {cubes[0].number} AND stored.tag_key = '' AND {where}", time)
    tagged, plain = cubes
    with_key = f"stored.cube = {tagged.number} AND stored.tag_key = {{rows_tag_value:String}} AND {where}"
    every_call = f"stored.cube = {plain.number} AND stored.tag_key = '' AND {where}"
    without_key = _difference(
        request.dimensions,
        f"SELECT *, 1 AS sign FROM {name} AS stored WHERE {every_call}",
        f"SELECT *, -1 AS sign FROM {name} AS stored WHERE {with_key}",
        time,
    )
    return " UNION ALL ".join(
        (
            _measured(request, name, with_key, time, "CAST(stored.tag_value, 'Nullable(String)')"),
            _measured(request, without_key, "true", "stored.start", "CAST(NULL, 'Nullable(String)')"),
        )
    )


def _difference(dimensions: Sequence[str], every: str, tagged: str, time: str) -> str:
    """The stored columns of the calls without a tag key: all calls minus those with it."""
    sums = ", ".join(
        f"toUInt64(sum(stored.sign * toInt64(stored.{name}))) AS {name}"
        for name, (column_type, _) in STORED.items()
        if column_type == "UInt64"
    )
    names = "".join(f", {name}" for name in dimensions)
    empty = "CAST(map(), 'Map(Int16, UInt64)')"
    latency = (f"sumMap(if(stored.sign = {sign}, stored.latency, {empty}))" for sign in (1, -1))
    return (
        f"(SELECT {time} AS start{names}, {sums}, sum(stored.sign * stored.total_cost) AS total_cost,"
        f" mapSubtract({', '.join(latency)}) AS latency"
        f" FROM ({every} UNION ALL {tagged}) AS stored GROUP BY start{names} HAVING calls > 0)"
    )


def _measured(request: MeasuredRows, source: str, where: str, time: str, tag_value: str | None = None) -> str:
    columns = {"time": time, **{name: f"stored.{name}" for name in (*request.dimensions, *(_TAG * request.every_tag))}}
    if tag_value is not None:
        columns["tag_value"] = tag_value
    measures = {**MEASURES, **{name: f"stored.{name}" for name in _times(request)}}
    selected = ", ".join(f"{sql} AS {name}" for name, sql in {**columns, **measures}.items())
    return f"SELECT {selected} FROM {source} AS stored WHERE {' AND '.join((where, *request.conditions))}"


def _time(request: MeasuredRows, unit: Unit) -> str:
    if request.time_unit == "none":
        return "toDateTime(0, 'UTC')"
    if unit == "day" and is_same_zone(request.time_zone, UTC_ZONE):
        return "toDateTime(stored.day, 'UTC')"
    if request.time_unit == unit:
        return "stored.time"
    return "toDateTime(toStartOfDay(stored.time, {rows_time_zone:String}), 'UTC')"


def _versions(days: Sequence[_Covered]) -> str:
    return ", ".join(
        f"({(found.published.day.date - _EPOCH.date()).days}, {found.published.version})" for found in days
    )


def _milliseconds(day: date) -> int:
    return (day - _EPOCH.date()) // timedelta(milliseconds=1)
