"""Deletes data of a scope from the permanent sums of finalised days, of which the events are deleted.

The sums by entity have every dimension, so the calls of an entity can be left out exactly: the sums without an entity
are summed again from them. The sums by tag have no entity, and no sums have a session. What cannot be left out stays,
in sums that do not name the scope; `limits` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from infraprism.backend.store.aggregates.changes import Changes
from infraprism.backend.store.aggregates.cubes import CUBES, DIMENSIONS, PERMANENT, STORED, Cube, table
from infraprism.backend.store.aggregates.published import Day, Published
from infraprism.backend.store.aggregates.removal import remove_rows
from infraprism.backend.store.aggregates.tables import BrokenTableError, Tables
from infraprism.backend.store.parts import rows_of
from infraprism.backend.store.quoting import literal

_TABLE: Final = table("day", PERMANENT)
_DAYS_AT_ONCE: Final = 31
_ENTITY: Final = ("entity_type", "entity_id")
_KEPT: Final = tuple(cube for cube in CUBES if cube.is_kept)
_BY_ENTITY: Final = tuple(cube for cube in _KEPT if set(_ENTITY) <= set(cube.dimensions))
_FINEST: Final = max(_BY_ENTITY, key=lambda cube: len(cube.dimensions))
_WITHOUT_ENTITY: Final = tuple(cube for cube in _KEPT if cube not in _BY_ENTITY and not cube.is_by_tag)
_MERGED: Final = {
    "latency": "sumMap(stored.latency)",
    "first_time": "min(stored.first_time)",
    "last_time": "max(stored.last_time)",
}
"""How rows of these measures are added. Those of the others are summed."""


class SumScope(NamedTuple):
    """A scope: the finalised days from `first`, before `end`, of an entity, of a tag, or of all calls."""

    account: str
    first: date | None
    end: date | None
    entity: tuple[str, str] | None = None
    tag: tuple[str, str] | None = None

    @property
    def condition(self) -> str:
        """The condition on the rows that name the scope."""
        found = f"account = {literal(self.account)}"
        if self.first is not None:
            found += f" AND day >= toDate('{self.first}')"
        if self.end is not None:
            found += f" AND day < toDate('{self.end}')"
        return f"{found} AND {self.named}"

    @property
    def named(self) -> str:
        """The same, without the account and the days."""
        if self.entity is not None:
            numbers = ", ".join(str(cube.number) for cube in _BY_ENTITY)
            return f"(cube IN ({numbers}) AND entity_type = {{scope_0:String}} AND entity_id = {{scope_1:String}})"
        if self.tag is not None:
            return "(tag_key = {scope_0:String} AND tag_value = {scope_1:String})"
        return "true"

    @property
    def parameters(self) -> dict[str, str]:
        """The bound values of the conditions."""
        return {f"scope_{place}": value for place, value in enumerate(self.entity or self.tag or ())}


class PermanentRemoval:
    """Replaces the sums of days by those without a scope. Used by one thread at a time."""

    def __init__(self, changes: Changes, tables: Tables, computing: AbstractContextManager[object]) -> None:
        self._changes = changes
        self._tables = tables
        self._computing = computing

    def replace(self, scope: SumScope) -> list[date]:
        """Publish the sums of days without the scope. Returns the days of this call.

        The rows with it are no longer read by new queries. Raises ClickHouseError, BrokenTableError, sqlite3.Error.
        """
        versions = {one.day.date: one for one in self._changes.all_finalised() if one.day.account == scope.account}
        days = [day for day in self._days(scope) if day in versions]
        for place in range(0, len(days), _DAYS_AT_ONCE):
            chunk = [versions[day] for day in days[place : place + _DAYS_AT_ONCE]]
            self._changes.replace_finalised(chunk, list(self._replaced(scope, chunk)))
        return days

    def remove_unread(self, account: str) -> None:
        """Delete the rows that no finalised day has, physically."""
        live = ", ".join(
            f"(toDate('{one.day.date}'), {one.version})"
            for one in self._changes.all_finalised()
            if one.day.account == account
        )
        where = f"account = {literal(account)}" + (f" AND (day, version) NOT IN ({live})" if live else "")
        with self._computing:
            self._tables.open_permanent()
            remove_rows(self._client, _TABLE, where)

    @property
    def _client(self) -> Client:
        return self._tables.client

    def _days(self, scope: SumScope) -> list[date]:
        """The days that have rows of the scope, in the versions that are read."""
        with self._computing:
            self._tables.open_permanent()
            sql = f"SELECT DISTINCT toString(day) AS date, version FROM {_TABLE} WHERE {scope.condition}"
            found = rows_of(self._client, sql, scope.parameters)
        live = {(one.day, one.version) for one in self._changes.all_finalised()}
        days = {(Day(scope.account, date.fromisoformat(row["date"])), int(row["version"])) for row in found}
        return sorted(day.date for day, version in days if (day, version) in live)

    def _replaced(self, scope: SumScope, days: Sequence[Published]) -> Iterator[Published]:
        """The sums of these days without the scope, as they are stored now. Days without calls are left out."""
        if scope.named == "true":
            return
        version = self._changes.new_version()
        old = ", ".join(f"(toDate('{one.day.date}'), {one.version})" for one in days)
        rows = f"account = {literal(scope.account)} AND (day, version) IN ({old}) AND NOT {scope.named}"
        with self._computing:
            # In a SELECT of its own: its conditions would read the new version.
            copied = f"SELECT * REPLACE (toUInt64({version}) AS version) FROM (SELECT * FROM {_TABLE} WHERE {rows}"
            if scope.entity is None:
                self._insert(f"{copied})", scope)
            else:
                derived = ", ".join(str(cube.number) for cube in _WITHOUT_ENTITY)
                self._insert(f"{copied} AND cube NOT IN ({derived}))", scope)
                for cube in _WITHOUT_ENTITY:
                    self._insert(_summed(cube, version, rows), scope)
            if not self._tables.are_intact(PERMANENT):
                raise BrokenTableError
            counts = self._tables.row_counts(PERMANENT, "day", version)
        for one in days:
            if one.day in {day for day, _ in counts}:
                number, calls = counts[one.day, version]
                yield replace(one, version=version, calls=calls, rows={"day": number})

    def _insert(self, select: str, scope: SumScope) -> None:
        sql = f"INSERT INTO {_TABLE} {select} SETTINGS max_threads = 1, max_insert_threads = 1"
        self._client.command(sql, parameters=scope.parameters)


def _summed(cube: Cube, version: int, rows: str) -> str:
    """The rows of a cube without the entity, from those with it."""
    names = ["account", "cube", "day", "version", "time", "tag_key", "tag_value", *DIMENSIONS, *STORED]
    others = {name: kind for name, kind in DIMENSIONS.items() if name not in cube.dimensions}
    selected = {
        "cube": f"toUInt8({cube.number})",
        "version": f"toUInt64({version})",
        **{name: f"defaultValueOfTypeName('{kind}')" for name, kind in others.items()},
        **{name: _MERGED.get(name, f"sum(stored.{name})") for name in STORED},
    }
    columns = ", ".join(f"{selected.get(name, f'stored.{name}')} AS {name}_" for name in names)
    keys = ", ".join(f"stored.{name}" for name in ("account", "day", "time", "tag_key", "tag_value", *cube.dimensions))
    return (
        f"({', '.join(names)}) SELECT {columns} FROM {_TABLE} AS stored WHERE {rows} AND cube = {_FINEST.number}"
        f" GROUP BY {keys}"
    )
