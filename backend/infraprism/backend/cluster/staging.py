"""Checks a batch in an engine in the memory of this process, and gives its accepted events by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import clickhouse_connect
import numpy as np
from clickhouse_connect.driver.exceptions import ClickHouseError
from numpy.typing import NDArray

from infraprism.backend.cluster import definitions
from infraprism.backend.cluster.known_ids import Hashes, Times
from infraprism.backend.store import schema
from infraprism.backend.store.database import ENTRIES, Layout, Parameter, StoreError
from infraprism.backend.store.embedded import pieces_as_file
from infraprism.backend.store.quoting import literal

HASH: Final = "cityHash64(account, id)"
_NUMBERED: Final = f"{schema.INGEST}.numbered"
_ROW: Final = np.dtype([("row", "<u8"), ("shard", "<u2"), ("month", "<u4"), ("hash", "<u8"), ("start_ms", "<i8")])
_PLACE: Final = np.dtype([("row", "<u8"), ("start_ms", "<i8")])
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
    """The engine. One batch at a time; `rows_of` and `places_of` may be called by several threads.

    Raises StoreError.
    """

    def __init__(self, shards: int) -> None:
        self._client = clickhouse_connect.get_client(interface="chdb")
        statements = [
            f"CREATE DATABASE IF NOT EXISTS {schema.INGEST} ENGINE = Memory",
            _in_memory("default.events", STRUCTURE),
            _in_memory(_NUMBERED, f"row UInt64, shard UInt16, month UInt32, {STRUCTURE}"),
            *(schema.statement(name) for name in ("rejected", "inbox", "inbox_to_events", "inbox_to_rejected")),
        ]
        for statement in statements:
            self._client.command(statement)
        names = ", ".join(COLUMNS)
        self._number = (
            f"INSERT INTO {_NUMBERED} SELECT rowNumberInAllBlocks(), {definitions.shard_of(shards)},"
            f" toYYYYMM(timestamp), {names} FROM default.events {_ONE_BLOCK}"
        )

    def stage(self, sql: str, pieces: Sequence[bytes], layout: Layout) -> Mapping[int, StagedEvents]:
        """Check a batch. Returns its accepted events by shard, each once."""
        try:
            for table in ("default.events", _NUMBERED):
                self._client.command(f"TRUNCATE TABLE {table}")
            with pieces_as_file(pieces) as path:
                self._client.command(f"{sql.replace(ENTRIES, _source(path, layout))}, {_format_schema(layout)}")
            self._client.command(self._number)
            data = self._client.raw_query(
                f"SELECT row, shard, month, {HASH}, toUnixTimestamp64Milli(timestamp) FROM {_NUMBERED}",
                fmt="RowBinary",
            )
        except ClickHouseError as error:
            raise StoreError(getattr(error, "code", None) or 0) from None
        found = np.frombuffer(data, _ROW)
        return {int(shard): _events(found[found["shard"] == shard]) for shard in np.unique(found["shard"])}

    def rows_of(self, events: StagedEvents, month: int) -> bytes:
        """The events of one month, as they are inserted (Native)."""
        rows = events.rows[events.month_of == month]
        with pieces_as_file([rows.tobytes()]) as path:
            return self._raw(
                f"SELECT {', '.join(COLUMNS)} FROM {_NUMBERED} WHERE month = {month} AND row IN"
                f" (SELECT row FROM file({literal(path)}, 'RowBinary', 'row UInt64')) {_ONE_BLOCK}",
                "Native",
            )

    def places_of(self, rows: NDArray[np.uint64], starts_ms: Times) -> bytes:
        """The primary keys of rows with other start times: row, account, start time, id (RowBinary)."""
        places = np.empty(len(rows), _PLACE)
        places["row"], places["start_ms"] = rows, starts_ms
        with pieces_as_file([places.tobytes()]) as path:
            return self._raw(
                f"SELECT row, account, place.start_ms, id FROM {_NUMBERED} INNER JOIN"
                f" file({literal(path)}, 'RowBinary', 'row UInt64, start_ms Int64') AS place USING row",
                "RowBinary",
            )

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """The rows of a SELECT on this engine, each as one JSON object."""
        return self._raw(sql, "JSONEachRow", parameters).splitlines()

    def can_parse(self, pieces: Sequence[bytes], layout: Layout) -> bool:
        """See Database."""
        with pieces_as_file(pieces) as path:
            settings = f"input_format_protobuf_oneof_presence = 1, {_format_schema(layout)}"
            try:
                self._raw(f"SELECT sum(ignore(*)) FROM {_source(path, layout)} SETTINGS {settings}", "RowBinary")
            except StoreError:
                return False
        return True

    def _raw(self, sql: str, form: str, parameters: Mapping[str, Parameter] | None = None) -> bytes:
        try:
            return self._client.raw_query(sql, parameters=dict(parameters or {}), fmt=form)
        except ClickHouseError as error:
            raise StoreError(getattr(error, "code", None) or 0) from None

    def close(self) -> None:
        """Close the engine."""
        self._client.close()


def _in_memory(name: str, structure: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {name} ({structure}) ENGINE = Memory"


def _events(found: NDArray[np.void]) -> StagedEvents:
    return StagedEvents(
        found["row"].astype(np.uint64),
        found["month"].astype(np.uint32),
        found["hash"].astype(np.uint64),
        found["start_ms"].astype(np.int64),
    )


def _source(path: str, layout: Layout) -> str:
    return f"file({literal(path)}, 'Protobuf', {literal(layout.structure)})"


def _format_schema(layout: Layout) -> str:
    return f"format_schema = {literal(f'{layout.schema}:{layout.message}')}"
