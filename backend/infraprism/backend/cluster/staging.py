"""Checks a batch in an engine in the memory of this process, and gives its accepted events by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import clickhouse_connect
import numpy as np
from clickhouse_connect.driver.exceptions import ClickHouseError
from numpy.typing import NDArray

from infraprism.backend.cluster import definitions
from infraprism.backend.cluster.known_ids import Hashes, Times
from infraprism.backend.store import schema
from infraprism.backend.store.database import ENGINE_ABORTED, Layout, Staged, StoreError
from infraprism.backend.store.lanes import HASH, Lane, pieces_as_file
from infraprism.backend.store.parquet import to_parquet
from infraprism.backend.store.quoting import literal

_ROW: Final = np.dtype([("row", "<u8"), ("shard", "<u2"), ("month", "<u4"), ("hash", "<u8"), ("start_ms", "<i8")])
_PLACE: Final = np.dtype([("row", "<u8"), ("start_ms", "<i8")])
_SOURCE: Final = "/* source */"
_ONE_BLOCK: Final = "SETTINGS max_threads = 1, max_block_size = 10000000"
COLUMNS: Final = ("account", "id", "timestamp", *(field.name for field in schema.STORED_FIELDS))
"""The inserted columns."""
STRUCTURE: Final = ", ".join(
    (
        "account LowCardinality(String)",
        "id FixedString(16)",
        "timestamp DateTime64(3, 'UTC')",
        *(f"{field.name} {schema.column_type(field)}" for field in schema.STORED_FIELDS),
    )
)
"""Their types."""


@dataclass(frozen=True, eq=False)
class StagedEvents:
    """Events of one shard: the numbers of their rows in the staging table, months, hashes and start times in ms."""

    rows: NDArray[np.uint64]
    month_of: NDArray[np.uint32]
    hashes: Hashes
    starts_ms: Times

    @property
    def months(self) -> frozenset[int]:
        """See Batch."""
        return frozenset(np.unique(self.month_of).tolist())

    def without(self, rows: NDArray[np.uint64]) -> StagedEvents:
        """The other events."""
        kept = ~np.isin(self.rows, rows)
        return StagedEvents(self.rows[kept], self.month_of[kept], self.hashes[kept], self.starts_ms[kept])


class Staging:
    """A lane of the engine. One batch at a time; `rows_of` and `places_of` may be called by several threads.

    Raises StoreError.
    """

    def __init__(self, shards: int, lane: int, directory: Path | None = None) -> None:
        """Without `directory` the engine is in memory. A process can have one engine."""
        path = str(directory.resolve()) if directory else ":memory:"
        self._path = path
        self._client = clickhouse_connect.get_client(interface="chdb", path=path)
        self._client.command(f"CREATE DATABASE IF NOT EXISTS {schema.INGEST} ENGINE = Memory")
        self._lane = Lane(self._client, lane)
        self._table = f"{schema.INGEST}.numbered_{lane}"
        self._client.command(
            f"CREATE TABLE {self._table} (row UInt64, shard UInt16, month UInt32, {STRUCTURE}) ENGINE = Memory"
        )
        names = ", ".join(COLUMNS)
        self._number = (
            f"INSERT INTO {self._table} SELECT rowNumberInAllBlocks(), {definitions.shard_of(shards)},"
            f" toYYYYMM(timestamp), {names} FROM (SELECT {names} FROM {_SOURCE} LIMIT 1 BY account, id) {_ONE_BLOCK}"
        )
        self._accepted = f"{schema.INGEST}.staged_{lane} WHERE reason = ''"

    def stage(self, sql: str, pieces: Sequence[bytes], layout: Layout, rows: int) -> Staged:
        """See Database."""
        with _engine_errors():
            return self._lane.stage(f"{sql}, {_format_schema(layout)}", pieces, layout, rows)

    def by_shard(self, source: str | None = None) -> Mapping[int, StagedEvents]:
        """The accepted events by shard, each once; or the rows of a table of events (SQL after FROM)."""
        with _engine_errors():
            self._client.command(f"TRUNCATE TABLE {self._table}")
            self._client.command(self._number.replace(_SOURCE, source or self._accepted))
            data = self._client.raw_query(
                f"SELECT row, shard, month, {HASH}, toUnixTimestamp64Milli(timestamp) FROM {self._table}",
                fmt="RowBinary",
            )
        found = np.frombuffer(data, _ROW)
        return {int(shard): _events(found[found["shard"] == shard]) for shard in np.unique(found["shard"])}

    def rows_of(self, events: StagedEvents, month: int) -> bytes:
        """The events of one month, as they are inserted (Native)."""
        rows = events.rows[events.month_of == month]
        with pieces_as_file([rows.tobytes()]) as path:
            return self._raw(
                f"SELECT {', '.join(COLUMNS)} FROM {self._table} WHERE month = {month} AND row IN"
                f" (SELECT row FROM file({literal(path)}, 'RowBinary', 'row UInt64')) {_ONE_BLOCK}",
                "Native",
            )

    def places_of(self, rows: NDArray[np.uint64], starts_ms: Times) -> bytes:
        """The primary keys of rows with other start times: row, account, start time, id (RowBinary)."""
        places = np.empty(len(rows), _PLACE)
        places["row"], places["start_ms"] = rows, starts_ms
        with pieces_as_file([places.tobytes()]) as path:
            return self._raw(
                f"SELECT row, account, place.start_ms, id FROM {self._table} INNER JOIN"
                f" file({literal(path)}, 'RowBinary', 'row UInt64, start_ms Int64') AS place USING row",
                "RowBinary",
            )

    def convert(self, source: Path, structure: str, target: Path, should_stop: Callable[[], bool]) -> bool:
        """See Database."""
        connect = partial(clickhouse_connect.get_client, interface="chdb", path=self._path)
        with _engine_errors():
            return to_parquet(connect, source, structure, target, should_stop)

    def can_parse(self, pieces: Sequence[bytes], layout: Layout) -> bool:
        """See Database."""
        try:
            with _engine_errors():
                self._lane.can_parse(pieces, layout, _format_schema(layout))
        except StoreError as error:
            if error.code == ENGINE_ABORTED:
                raise
            return False
        return True

    def _raw(self, sql: str, form: str) -> bytes:
        with _engine_errors():
            return self._client.raw_query(sql, fmt=form)

    def close(self) -> None:
        """Close the lane."""
        self._client.close()


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise StoreError(getattr(error, "code", None) or 0) from None


def _events(found: NDArray[np.void]) -> StagedEvents:
    return StagedEvents(
        found["row"].astype(np.uint64),
        found["month"].astype(np.uint32),
        found["hash"].astype(np.uint64),
        found["start_ms"].astype(np.int64),
    )


def _format_schema(layout: Layout) -> str:
    return f"format_schema = {literal(f'{layout.schema}:{layout.message}')}"
