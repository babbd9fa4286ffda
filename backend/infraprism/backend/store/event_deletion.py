"""Deletes events physically: the engine writes the parts that have some of them anew, without them (a mutation).

A deletion is one mutation, or several if the disk has not enough space for all changed parts. Before it begins, the
rows that each part keeps are counted and recorded in the inventory, while no INSERT runs. So the part guard compares
each part that the deletion has changed with these numbers: a deletion is not reported as damage, and rows that are lost
during it are found. When all changed parts are verified, the parts that they replace are deleted at once, and not after
their lifetime. A part without rows to delete gets another name by the mutation, and keeps its files.

A deletion that was interrupted, also by a kill, is run again. The engine keeps the statement in a file, with the values
of its conditions, until the deletion has ended; a start ends what was running.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from infraprism.backend.store.database import Parameter, StoreError
from infraprism.backend.store.inventory import Inventory
from infraprism.backend.store.part_guard import PartGuard
from infraprism.backend.store.parts import BROKEN, Deletion, active_parts, rows_of
from infraprism.backend.store.quoting import array, literal
from infraprism.backend.store.schema import EVENTS

NOT_ENOUGH_SPACE: Final = 243
"""The engine's error code."""
_POLL_S: Final = 0.1
_OF_EVENTS: Final = f"database = currentDatabase() AND table = {literal(EVENTS)}"


class DeletionStoppedError(StoreError):
    """A deletion was stopped before its end: run it again."""


class _Matching(NamedTuple):
    """The events to delete of a partition: their rows by part, and the first and last start time."""

    rows: Mapping[str, int]
    first_ms: int
    last_ms: int


class EventDeletion:
    """Deletes events of one table. `run` may be called from any thread; one deletion runs at a time.

    `connect` returns a new client. `writing` excludes INSERTs. `changing` is told the account, and the first and last
    start time of the events that change within the block. `find_damage` searches for the damage that a statement has
    met. `rest` waits the given seconds and returns whether the server stops.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        guard: PartGuard,
        inventory: Inventory,
        *,
        writing: AbstractContextManager[object],
        changing: Callable[[str, int, int], AbstractContextManager[None]],
        find_damage: Callable[[StoreError], bool],
        free_bytes: Callable[[], int],
        rest: Callable[[float], bool],
    ) -> None:
        self._connect = connect
        self._guard = guard
        self._inventory = inventory
        self._writing = writing
        self._changing = changing
        self._find_damage = find_damage
        self._free_bytes = free_bytes
        self._rest = rest
        self._running = threading.Lock()
        guard.deletion = inventory.deletion
        with self._client() as client:
            self._end_mutations(client)

    def run(
        self,
        account_id: str,
        conditions: Sequence[str],
        parameters: Mapping[str, Parameter],
        *,
        first_ms: int | None,
        end_ms: int | None,
        keep_sums: bool,
        should_stop: Callable[[], bool],
    ) -> int:
        """Delete the events of an account that meet all conditions. Returns their number, without earlier runs.

        Raises StoreError, DeletionStoppedError, ClickHouseError, OSError, sqlite3.Error.
        """
        where = ["account = {account:String}", *conditions]
        bound: dict[str, Any] = {**parameters, "account": account_id}
        if first_ms is not None:
            where.append("timestamp >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')")
            bound["first_ms"] = first_ms
        if end_ms is not None:
            where.append("timestamp < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')")
            bound["end_ms"] = end_ms
        statement = _Statement(account_id, f"({') AND ('.join(where)})", bound)
        return self._run(statement, should_stop, keep_sums=keep_sums)

    def run_expired(self, before_ms: Mapping[str, int], should_stop: Callable[[], bool]) -> int:
        """Delete the events of many accounts before a time of each, which are finalised. Returns their number.

        Raises like `run`.
        """
        accounts: dict[int, list[str]] = {}
        for account_id, end_ms in before_ms.items():
            accounts.setdefault(end_ms, []).append(account_id)
        where = " OR ".join(
            f"(account IN {array(found)} AND timestamp < fromUnixTimestamp64Milli({end_ms}, 'UTC'))"
            for end_ms, found in sorted(accounts.items())
        )
        return self._run(_Statement("", f"({where})", {}), should_stop, keep_sums=True)

    def _run(self, statement: _Statement, should_stop: Callable[[], bool], *, keep_sums: bool) -> int:
        deleted = 0
        with self._running, self._client() as client:
            self._finish(client, should_stop)
            while partitions := self._next_partitions(client, statement):
                deleted += self._delete(client, statement.within(partitions), should_stop, keep_sums=keep_sums)
        return deleted

    def _delete(
        self, client: Client, statement: _Statement, should_stop: Callable[[], bool], *, keep_sums: bool
    ) -> int:
        expected = statement.matching(client)
        bounds = (statement.account_id, expected.first_ms, expected.last_ms)
        self._guard.frees_space = True
        try:
            with nullcontext() if keep_sums else self._changing(*bounds):
                with self._writing:
                    found = self._record(client, statement)
                    if not (expected.first_ms <= found.first_ms and found.last_ms <= expected.last_ms):
                        return 0  # events arrived in the meantime whose days are not withdrawn: it is tried again
                    client.command(statement.delete, parameters=dict(statement.parameters))
                self._wait(client, should_stop)
        finally:
            self._guard.frees_space = False
        return sum(found.rows.values())

    def _record(self, client: Client, statement: _Statement) -> _Matching:
        """Record the rows that each part keeps. Called while no INSERT runs; merges may run."""
        while True:
            parts = active_parts(client, EVENTS)
            found = statement.matching(client)
            if found.rows.keys() <= {part.name for part in parts}:
                break
        deletion = Deletion(
            max((max(part.data_version, part.max_block_number) for part in parts), default=0),
            {part.name: part.rows - found.rows.get(part.name, 0) for part in parts},
        )
        self._inventory.record_deletion(deletion)
        self._guard.deletion = deletion
        return found

    def _wait(self, client: Client, should_stop: Callable[[], bool]) -> None:
        """Wait until the mutation has changed all parts, and their sources are deleted."""
        try:
            while True:
                rows = rows_of(
                    client,
                    f"SELECT is_done, latest_failed_part AS part FROM system.mutations WHERE {_OF_EVENTS}",
                )
                # There is none while the table is loaded again.
                if rows and all(row["is_done"] for row in rows):
                    break
                for row in rows:
                    # A damaged part is moved aside and reported. The engine tries the other parts again.
                    if row["part"] and not self._find_damage(StoreError(BROKEN, frozenset({row["part"]}))):
                        raise StoreError(BROKEN, frozenset({row["part"]}))
                self._pause(should_stop)
            self._finish(client, should_stop, ends_mutations=False)
        finally:
            self._end_mutations(client)

    def _finish(self, client: Client, should_stop: Callable[[], bool], *, ends_mutations: bool = True) -> None:
        """Delete what the recorded deletion has replaced, also if an earlier process has begun it."""
        if not self._guard.is_attached:
            raise StoreError
        if ends_mutations:
            self._end_mutations(client)
        if self._inventory.deletion is None:
            return
        while not (self._guard.is_attached and self._guard.remove_replaced(client)):
            self._pause(should_stop)
        self._inventory.record_deletion(None)
        self._guard.deletion = None

    def _pause(self, should_stop: Callable[[], bool]) -> None:
        if should_stop() or self._rest(_POLL_S):
            raise DeletionStoppedError

    def _next_partitions(self, client: Client, statement: _Statement) -> list[str]:
        """The partitions with events to delete: as many as the disk has space for, since their parts are written anew.

        Raises StoreError if there is not enough for one.
        """
        found = statement.matching(client)
        parts = rows_of(
            client,
            f"SELECT name, partition_id, bytes_on_disk AS bytes FROM system.parts WHERE {_OF_EVENTS}",
        )
        needed = Counter[str]()
        for part in parts:
            if part["name"] in found.rows:
                needed[part["partition_id"]] += int(part["bytes"])
        free = self._free_bytes()
        chosen: list[str] = []
        for partition_id, size in sorted(needed.items()):
            if size <= free:
                chosen.append(partition_id)
                free -= size
        if found.rows and not chosen:
            raise StoreError(NOT_ENOUGH_SPACE)
        return chosen

    def _end_mutations(self, client: Client) -> None:
        """End all mutations, and remove their files: they have the values of the conditions."""
        if not self._guard.is_attached:
            return
        client.command(f"KILL MUTATION WHERE {_OF_EVENTS}")
        while rows_of(client, f"SELECT 1 FROM system.merges WHERE {_OF_EVENTS} AND is_mutation"):
            if self._rest(_POLL_S):
                return

    @contextmanager
    def _client(self) -> Iterator[Client]:
        client = self._connect()
        try:
            yield client
        finally:
            client.close()


class _Statement(NamedTuple):
    """A deletion."""

    account_id: str
    where: str
    parameters: Mapping[str, Any]

    def within(self, partitions: Sequence[str]) -> _Statement:
        """The deletion in these partitions."""
        return self._replace(where=f"_partition_id IN {array(partitions)} AND {self.where}")

    @property
    def delete(self) -> str:
        """The SQL of the mutation."""
        return f"ALTER TABLE {EVENTS} DELETE WHERE {self.where} SETTINGS mutations_sync = 0"

    def matching(self, client: Client) -> _Matching:
        """The events to delete now."""
        found = rows_of(
            client,
            "SELECT _part AS part, count() AS rows, toUnixTimestamp64Milli(min(timestamp)) AS first_ms,"
            f" toUnixTimestamp64Milli(max(timestamp)) AS last_ms FROM {EVENTS} WHERE {self.where} GROUP BY part",
            self.parameters,
        )
        return _Matching(
            {row["part"]: int(row["rows"]) for row in found},
            min((int(row["first_ms"]) for row in found), default=0),
            max((int(row["last_ms"]) for row in found), default=0),
        )
