"""Performs the commands of an ownership on PostgreSQL and ClickHouse."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import Any, Final

import numpy as np
from clickhouse_connect.driver.external import ExternalData

from infraprism.backend.cluster import definitions
from infraprism.backend.cluster.known_ids import KnownIds, Times
from infraprism.backend.cluster.leases import Leases
from infraprism.backend.cluster.ownership import (
    Acquire,
    Advance,
    AreStored,
    Command,
    Fence,
    Insert,
    Load,
    Ownership,
    Steps,
    Unstored,
)
from infraprism.backend.cluster.server import Connection
from infraprism.backend.cluster.staging import COLUMNS, STRUCTURE, StagedEvents, Staging
from infraprism.backend.store.lanes import HASH
from infraprism.backend.store.quoting import literal
from infraprism.backend.store.schema import EVENTS

INSERT_DEADLINE_S: Final = 60
"""The server refuses to begin an INSERT that is older. It must be much shorter than the memory of tokens."""
_KNOWN: Final = np.dtype([("hash", "<u8"), ("start_ms", "<i8")])
_INSERT_SETTINGS: Final[dict[str, Any]] = {
    "insert_deduplicate": 1,
    "async_insert": 0,
    # One block, so that the INSERT has one token.
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 2**32,
    "max_insert_threads": 1,
}
_QUORUM: Final = {"insert_quorum": "auto", "insert_quorum_timeout": 30_000}
_PLACES: Final = "row UInt64, account String, start_ms Int64, id FixedString(16)"
FENCE_ACCOUNT: Final = ""
"""The account of the rows of fences. No account has this id, so no query reads them."""


class _Ids:
    """Adapts KnownIds to StoredIds."""

    def __init__(self, known: KnownIds) -> None:
        self.known: Final = known

    def add(self, batch: StagedEvents) -> None:
        """See StoredIds."""
        self.known.add(batch.hashes, batch.starts_ms)


class OwnedShard:
    """One ownership on one host of the database. After any error it must be taken again as a new object."""

    def __init__(
        self,
        shard: int,
        holder: str,
        leases: Leases,
        connection: Connection,
        *,
        shards: int,
        is_cluster: bool,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.holder: Final = holder
        self._ownership: Ownership[StagedEvents] = Ownership(shard, holder)
        self._leases = leases
        self._connection = connection
        self._is_cluster = is_cluster
        self._table = definitions.LOCAL_EVENTS if is_cluster else EVENTS
        self._is_of_shard = f"{definitions.shard_of(shards)} = {shard}"
        self._clock_s = clock_s
        self._has_failed = False
        self._staging: Staging | None = None

    def take(self) -> None:
        """Become the owner. Raises LeaseLostError, StoreError, DatabaseUnavailableError."""
        self._run(self._ownership.take())

    def store(self, staging: Staging, events: StagedEvents) -> None:
        """Store staged events, each once. Raises as `take`."""
        self._staging = staging
        self._run(self._ownership.store(events))

    def _run(self, steps: Steps) -> None:
        assert not self._has_failed, "an ownership ends with its first error"
        answer = None
        try:
            while True:
                answer = self._perform(steps.send(answer))
        except StopIteration:
            return
        except BaseException:
            self._has_failed = True
            raise

    def _perform(self, command: Command) -> Any:
        match command:
            case Acquire():
                return self._leases.acquire(command)
            case Advance():
                return self._leases.advance(command)
            case Fence() | Insert():
                return self._fence(command) if isinstance(command, Fence) else self._insert(command)
            case Load():
                return self._load()
            case Unstored(ids=_Ids(known=known), batch=batch):
                return self._unstored(known, batch)
            case AreStored(batch=batch):
                return len(self._stored(batch.rows, batch.starts_ms)) == len(batch.rows)
            case _:
                raise AssertionError(command)

    def _fence(self, command: Fence) -> None:
        # In the middle of the month, whatever the time zone of a reader.
        day = date(command.month // 100, command.month % 100, 15)
        row_id = sha256(command.token.encode()).digest()[:16].hex()
        self._connection.command(
            f"INSERT INTO {self._table} (account, id, timestamp)"
            f" SELECT {literal(FENCE_ACCOUNT)}, CAST(unhex('{row_id}'), 'FixedString(16)'),"
            f" toDateTime64('{day}', 3, 'UTC')"
            f" WHERE {self._begins_in_time()}",
            settings=self._settings(command.token),
        )

    def _insert(self, command: Insert[StagedEvents]) -> None:
        names = ", ".join(COLUMNS)
        self._connection.command(
            f"INSERT INTO {self._table} ({names}) SELECT {names} FROM input({literal(STRUCTURE)})"
            f" WHERE {self._begins_in_time()} FORMAT Native",
            data=self._staged.rows_of(command.batch, command.month),
            settings=self._settings(command.token),
        )

    @property
    def _staged(self) -> Staging:
        assert self._staging is not None
        return self._staging

    def _begins_in_time(self) -> str:
        deadline = int(self._clock_s()) + INSERT_DEADLINE_S
        return f"NOT throwIf(now() > toDateTime({deadline}, 'UTC'))"

    def _settings(self, token: str) -> dict[str, Any]:
        quorum = _QUORUM if self._is_cluster else {}
        return {**_INSERT_SETTINGS, **quorum, "insert_deduplication_token": token}

    def _load(self) -> _Ids:
        if self._is_cluster:
            self._connection.command(f"SYSTEM SYNC REPLICA {self._table} LIGHTWEIGHT")
        data = self._connection.binary(
            f"SELECT {HASH}, toUnixTimestamp64Milli(timestamp) FROM {self._table}"
            f" WHERE {self._is_of_shard} AND account != {literal(FENCE_ACCOUNT)}"
        )
        found = np.frombuffer(data, _KNOWN)
        return _Ids(KnownIds(found["hash"].astype(np.uint64), found["start_ms"].astype(np.int64)))

    def _unstored(self, known: KnownIds, events: StagedEvents) -> StagedEvents:
        candidates = known.matches(events.hashes)
        if not len(candidates.places):
            return events
        return events.without(self._stored(events.rows[candidates.places], candidates.starts_ms))

    def _stored(self, rows: Any, starts_ms: Times) -> Any:
        """The numbers of the rows that the table has with these start times, each once."""
        places = ExternalData(
            file_name="places", data=self._staged.places_of(rows, starts_ms), fmt="RowBinary", structure=_PLACES
        )
        time_of = "fromUnixTimestamp64Milli(start_ms, 'UTC')"
        data = self._connection.binary(
            f"SELECT DISTINCT row FROM places WHERE (account, {time_of}, id) IN"
            f" (SELECT account, timestamp, id FROM {self._table}"
            f" WHERE (account, timestamp, id) IN (SELECT account, {time_of}, id FROM places))",
            places,
        )
        return np.frombuffer(data, np.uint64)
