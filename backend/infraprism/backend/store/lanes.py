"""A lane: an engine connection and a table in memory, in which a batch is checked before it is inserted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import numpy as np
from clickhouse_connect.driver.client import Client

from infraprism.backend.store import schema
from infraprism.backend.store.database import ENTRIES, STAGED, Layout, Staged
from infraprism.backend.store.identities import Identities
from infraprism.backend.store.parts import rows_of
from infraprism.backend.store.quoting import literal

HASH: Final = "cityHash64(account, id)"
_ACCEPTED: Final = "reason = ''"
IDENTITY: Final = np.dtype([("hash", "<u8"), ("start_ms", "<i8")])
"""A row of RowBinary with a hash and a start time."""
_MAX_INSERT_BLOCK_ROWS: Final = 2**20


class Lane:
    """One lane. It is used by one thread at a time."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        name = f"staged_{number}"
        self._table = f"{schema.INGEST}.{name}"
        self._is_empty = True
        client.command(schema.staged_table(name))

    def stage(self, sql: str, pieces: Sequence[bytes], layout: Layout, rows: int) -> Staged:
        """See Database.stage."""
        self.clear()
        self._is_empty = False
        with pieces_as_file(pieces) as path:
            self._client.command(f"{sql.replace(STAGED, self._table).replace(ENTRIES, _source(path, layout))}")
        found = identities(
            self._client.raw_query(
                f"SELECT {HASH}, toUnixTimestamp64Milli(timestamp) FROM {self._table} WHERE {_ACCEPTED}",
                fmt="RowBinary",
            )
        )
        rejected: list[tuple[int, str, int]] = []
        if found.number != rows:
            counts = rows_of(
                self._client,
                f"SELECT request, reason, count() AS spans FROM {self._table} WHERE NOT ({_ACCEPTED}) GROUP BY ALL",
            )
            rejected = [(int(row["request"]), row["reason"], int(row["spans"])) for row in counts]
        return Staged(found, rejected)

    def insert(self, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        """Insert the accepted events into the table of events, except those that it has."""
        names = ", ".join(("account", "id", "timestamp", *columns))
        sql = f"INSERT INTO {schema.EVENTS} ({names}) SELECT {names} FROM {self._table} WHERE {_ACCEPTED}"
        settings = f"max_threads = 1, max_partitions_per_insert_block = 0, max_block_size = {_MAX_INSERT_BLOCK_ROWS}"
        once = " LIMIT 1 BY account, id" if has_doubles else ""
        if not recorded.number:
            self._client.command(f"{sql}{once} SETTINGS {settings}")
            return
        rows = np.empty(recorded.number, IDENTITY)
        rows["hash"], rows["start_ms"] = recorded
        with pieces_as_file([rows.tobytes()]) as path:
            # Each recorded event by its full primary key. An event of another id with the same hash is not found.
            places = (
                f"SELECT staged.account, fromUnixTimestamp64Milli(recorded.start_ms, 'UTC'), staged.id"
                f" FROM (SELECT account, id, {HASH} AS hash FROM {self._table} WHERE {_ACCEPTED}) AS staged"
                f" INNER JOIN file({literal(path)}, 'RowBinary', 'hash UInt64, start_ms Int64') AS recorded USING hash"
            )
            stored = f"SELECT account, id FROM {schema.EVENTS} WHERE (account, timestamp, id) IN ({places})"
            self._client.command(f"{sql} AND (account, id) NOT IN ({stored}){once} SETTINGS {settings}")

    def can_parse(self, pieces: Sequence[bytes], layout: Layout, format_schema: str) -> None:
        """Parse pieces only. Raises ClickHouseError."""
        with pieces_as_file(pieces) as path:
            settings = f"input_format_protobuf_oneof_presence = 1, {format_schema}"
            self._client.command(f"SELECT sum(ignore(*)) FROM {_source(path, layout)} SETTINGS {settings}")

    def clear(self) -> None:
        """Remove what is staged."""
        if not self._is_empty:
            self._client.command(f"TRUNCATE TABLE {self._table}")
            self._is_empty = True

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def identities(data: bytes) -> Identities:
    """The rows of RowBinary with a hash and a start time."""
    rows = np.frombuffer(data, IDENTITY)
    return Identities(rows["hash"].astype(np.uint64), rows["start_ms"].astype(np.int64))


def _source(path: str, layout: Layout) -> str:
    return f"file({literal(path)}, 'Protobuf', {literal(layout.structure)})"


@contextmanager
def pieces_as_file(pieces: Sequence[bytes]) -> Iterator[str]:
    """A path from which the engine can read the concatenated pieces. They are never written to a disk."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("infraprism-batch"), "wb") as file:
            file.writelines(pieces)
            file.flush()
            yield f"/dev/fd/{file.fileno()}"
    else:
        with _pieces_as_pipe(pieces) as path:
            yield path


@contextmanager
def _pieces_as_pipe(pieces: Sequence[bytes]) -> Iterator[str]:
    """The same for platforms without memfd_create: a pipe that a thread fills while the engine reads."""
    reading, writing = os.pipe()

    def fill() -> None:
        try:
            with os.fdopen(writing, "wb") as file:
                file.writelines(pieces)
        except BrokenPipeError:
            pass  # the engine stopped reading and raises its own error

    with ThreadPoolExecutor(1) as pool:
        filled: Future[None] = pool.submit(fill)
        try:
            yield f"/dev/fd/{reading}"
        finally:
            os.close(reading)
            filled.result()
