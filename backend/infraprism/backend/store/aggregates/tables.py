"""The tables of aggregates in the engine: computes days, verifies what was written, deletes what is not read."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from infraprism.backend.store import schema
from infraprism.backend.store.aggregates import computation
from infraprism.backend.store.aggregates.computation import DAY, SETTINGS
from infraprism.backend.store.aggregates.cubes import (
    CUBES,
    PERMANENT,
    UNITS,
    Cube,
    Unit,
    create_table,
    is_table,
    table,
)
from infraprism.backend.store.aggregates.published import Day, Published
from infraprism.backend.store.aggregates.zone_names import UTC_ZONE
from infraprism.backend.store.parts import active_parts, is_intact, rows_of
from infraprism.backend.store.quoting import literal

ROWS_SHARE: Final = 0.2
"""A cube is stored for a day if it has at most this many rows per call. Otherwise it would not save work."""
_DEFINITION_END: Final = b"index_granularity = 8192"
MIN_KEY_ROWS: Final = 200
"""The rows of a tag key that are always stored."""
_TUPLES: Final = 500
_DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1)
_EVERY_CALL: Final = {"day": 1, "quarter_hour": 5}
"""The numbers of cubes in which each call counts once."""


class BrokenTableError(Exception):
    """The disk did not store what was inserted, or the tables do not have it."""


class Tables:
    """The tables of one epoch, used through one client. Methods raise ClickHouseError."""

    def __init__(self, client: Client, rows_share: float = ROWS_SHARE) -> None:
        self._client = self.client = client
        self._rows_share = rows_share

    def open(self, epoch: int) -> None:
        """Create the tables of an epoch that are missing, and drop those of others. Permanent sums are kept."""
        current = {*(table(unit, epoch) for unit in UNITS), table("day", PERMANENT)}
        for found in self._client.raw_query("SHOW TABLES", fmt="TSV").decode().split():
            if is_table(found) and found not in current:
                self._client.command(f"DROP TABLE {found} SYNC")
        for unit in UNITS:
            self._client.command(create_table(unit, epoch))

    def open_permanent(self) -> None:
        """Create the table of permanent sums, if it is missing."""
        self._client.command(create_table("day", PERMANENT))

    def delete_unfinished(self, account: str, before: date | None) -> None:
        """Delete the permanent rows of days that are not finalised: their finalisation was interrupted."""
        name = table("day", PERMANENT)
        where = f"account = {literal(account)}" + (f" AND day >= toDate('{before}')" if before else "")
        if int(self._client.command(f"SELECT count() FROM {name} WHERE {where}")):  # type: ignore[arg-type]
            self._client.command(f"ALTER TABLE {name} DELETE WHERE {where} SETTINGS mutations_sync = 1")

    def event_counts_before(self, account: str, first: date | None, end: date) -> dict[Day, int]:
        """The number of events of an account, by day, from `first`, before `end`."""
        where = f"account = {literal(account)} AND timestamp < {computation.midnight(end)}"
        if first is not None:
            where += f" AND timestamp >= {computation.midnight(first)}"
        return self._event_counts(where)

    def event_counts(self, days: computation.Days | None = None) -> dict[Day, int]:
        """The number of events by account and day."""
        return self._event_counts("true" if days is None else computation.condition(days))

    def _event_counts(self, where: str) -> dict[Day, int]:
        found = rows_of(
            self._client,
            f"SELECT account, toString({DAY}) AS day, toInt64(count()) AS calls FROM {schema.EVENTS} WHERE {where}"
            f" GROUP BY account, day SETTINGS {SETTINGS}",
        )
        return {Day(row["account"], date.fromisoformat(row["day"])): int(row["calls"]) for row in found}

    def row_counts(self, epoch: int, unit: Unit, version: int | None = None) -> dict[tuple[Day, int], tuple[int, int]]:
        """The stored rows, and the calls in them, by day and version."""
        found = rows_of(
            self._client,
            f"SELECT account, toString(day) AS day, version, count() AS rows, sumIf(calls, cube = {_EVERY_CALL[unit]})"
            f" AS calls FROM {table(unit, epoch)} WHERE {'true' if version is None else f'version = {version}'}"
            f" GROUP BY ALL SETTINGS {SETTINGS}",
        )
        return {
            (Day(row["account"], date.fromisoformat(row["day"])), int(row["version"])): (
                int(row["rows"]),
                int(row["calls"]),
            )
            for row in found
        }

    def compute(
        self, days: Sequence[Day], epoch: int, version: int, time_zone: str, *, complete: bool = False
    ) -> Iterator[Published]:
        """Compute days of one account, without publishing them. With `complete` the cubes that outlive the events.

        The rows by day are of days of `time_zone`; of UTC if the engine does not know it. Raises BrokenTableError.
        """
        if not rows_of(self._client, f"SELECT 1 FROM system.time_zones WHERE time_zone = {literal(time_zone)}"):
            time_zone = UTC_ZONE
        stored, unsummed, calls = self._selected(days, time_zone, complete=complete)
        midnights = self._midnights(days, time_zone)
        for cubes, found in _grouped(stored):
            keys = {
                day.date: unsummed[day][cubes[0].unit]
                for day in found
                if cubes[0].is_by_tag and unsummed[day][cubes[0].unit]
            }
            self._client.command(
                computation.insert(cubes, by_account(found), version, epoch, keys, time_zone=time_zone)
            )
        self._verify_inserted(epoch)
        counts = {unit: self.row_counts(epoch, unit, version) for unit in _units(epoch)}
        for day, numbers in stored.items():
            rows = {unit: counts[unit].get((day, version), (0, 0)) for unit in counts}
            for unit, (_, counted) in rows.items():
                if _EVERY_CALL[unit] in numbers and counted != calls[day]:
                    # Events that arrived in the meantime make a difference too. The day is computed again.
                    break
            else:
                yield Published(
                    day,
                    version,
                    numbers,
                    calls[day],
                    {unit: number for unit, (number, _) in rows.items()},
                    {unit: tuple(keys) for unit, keys in unsummed[day].items() if keys},
                    time_zone,
                    midnights[day.date],
                )

    def delete(self, rows: Iterable[tuple[Day, int]], epoch: int) -> None:
        """Delete the rows of some versions of days."""
        tuples = iter(f"({literal(day.account)}, toDate('{day.date}'), {version})" for day, version in rows)
        while chunk := list(itertools.islice(tuples, _TUPLES)):
            for unit in UNITS:
                self._client.command(
                    f"ALTER TABLE {table(unit, epoch)} DELETE WHERE (account, day, version) IN ({', '.join(chunk)})"
                    " SETTINGS mutations_sync = 1"
                )

    def are_intact(self, epoch: int) -> bool:
        """Whether all parts are as they were written."""
        for unit in _units(epoch):
            name = table(unit, epoch)
            if not all(is_intact(self._client, name, part) for part in active_parts(self._client, name)):
                return False
        return True

    def stop_merges(self, epoch: int, *, stop: bool) -> None:
        """Stop or start the merges."""
        for unit in UNITS:
            self._client.command(f"SYSTEM {'STOP' if stop else 'START'} MERGES {table(unit, epoch)}")

    def _midnights(self, days: Sequence[Day], time_zone: str) -> dict[date, tuple[int, ...]]:
        """By UTC day: when days of the zone begin in it, in seconds since 1970, except at its start."""
        found: dict[date, tuple[int, ...]] = {}
        for first, end in computation.runs(day.date for day in days):
            starts = [
                int(row["start_s"]) for row in rows_of(self._client, computation.midnights(first, end, time_zone))
            ]
            by_day: dict[int, list[int]] = defaultdict(list)
            for start_s in sorted(starts):
                by_day[start_s // _DAY_S].append(start_s)
            for number in range((end - first).days):
                day = first + timedelta(days=number)
                place = (day - _EPOCH).days
                found[day] = tuple(start_s for start_s in by_day[place] if start_s != place * _DAY_S)
        return found

    def _selected(
        self, days: Sequence[Day], time_zone: str, *, complete: bool
    ) -> tuple[dict[Day, frozenset[int]], dict[Day, dict[Unit, list[str]]], dict[Day, int]]:
        """By day: the cubes that are stored, the tag keys that are not, and the number of events."""
        stored: dict[Day, set[int]] = {day: set() for day in days}
        unsummed: dict[Day, dict[Unit, list[str]]] = {day: {unit: [] for unit in UNITS} for day in days}
        calls = dict.fromkeys(days, 0)
        of_account = by_account(days)
        for is_by_tag in (False, True):
            cubes = [cube for cube in CUBES if cube.is_by_tag == is_by_tag]
            for row in rows_of(self._client, computation.sizes(cubes, of_account, time_zone)):
                day = Day(row["account"], date.fromisoformat(row["day"]))
                if not is_by_tag:
                    calls[day] = int(row["calls"])
                for cube in cubes:
                    limit = max(MIN_KEY_ROWS * is_by_tag, int(row["calls"]) * self._rows_share)
                    is_kept = cube.is_kept if complete else int(row[f"cube_{cube.number}"]) <= limit
                    if is_by_tag and not is_kept:
                        # Of no cube of the unit.
                        unsummed[day][cube.unit] = sorted({*unsummed[day][cube.unit], row["tag_key"]})
                    elif not is_by_tag and is_kept:
                        stored[day].add(cube.number)
        # A key that no call of the day has is in the cubes by tag as well: with no calls.
        for cube in CUBES:
            if cube.is_by_tag and (cube.is_kept or not complete):
                for found in stored.values():
                    found.add(cube.number)
        return {day: frozenset(found) for day, found in stored.items()}, unsummed, calls

    def _verify_inserted(self, epoch: int) -> None:
        """Verify the parts that were inserted. Raises BrokenTableError; the damaged ones are dropped."""
        is_broken = False
        for unit in _units(epoch):
            name = table(unit, epoch)
            for part in active_parts(self._client, name, "level = 0"):
                if not is_intact(self._client, name, part):
                    is_broken = True
                    self._client.command(f"ALTER TABLE {name} DROP PART {literal(part.name)}")
        if is_broken:
            raise BrokenTableError


def _units(epoch: int) -> tuple[Unit, ...]:
    return ("day",) if epoch == PERMANENT else UNITS


def _grouped(stored: Mapping[Day, frozenset[int]]) -> Iterator[tuple[list[Cube], list[Day]]]:
    """The cubes that one statement computes, with their days."""
    for unit, is_by_tag in itertools.product(UNITS, (False, True)):
        cubes = [cube for cube in CUBES if cube.unit == unit and cube.is_by_tag == is_by_tag]
        days_of: dict[frozenset[int], list[Day]] = defaultdict(list)
        for day, numbers in stored.items():
            days_of[numbers & {cube.number for cube in cubes}].append(day)
        for numbers, days in days_of.items():
            if numbers:
                yield [cube for cube in cubes if cube.number in numbers], days


def by_account(days: Iterable[Day]) -> dict[str, list[date]]:
    """Days by account."""
    found: dict[str, list[date]] = defaultdict(list)
    for day in days:
        found[day.account].append(day.date)
    return dict(found)


def remove_truncated_definitions(directory: Path) -> None:
    """Remove definitions of these tables that are incomplete, before the engine opens the directory.

    A full disk can truncate them, and the engine could not start. What they define is computed again.
    """
    for definition in (directory / "metadata" / "default").glob("sums_by_*.sql"):
        if not definition.read_bytes().rstrip().endswith(_DEFINITION_END):
            definition.unlink()
