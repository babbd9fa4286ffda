"""SQL of all rows of an account: to read them for another store, to insert them there, and to compare both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from infraprism.backend.store import schema
from infraprism.backend.store.engine import engine_errors
from infraprism.backend.store.identities import Identities
from infraprism.backend.store.lanes import HASH, identities
from infraprism.backend.store.part_guard import PartGuard
from infraprism.backend.store.quoting import literal

FORMAT: Final = "Native"
"""Of rows between two stores: the names, types and values of all columns."""
COLUMNS: Final = (
    "account",
    "id",
    "timestamp",
    *(field.name for field in schema.STORED_FIELDS if field.name != "timestamp"),
)
_DAY: Final = "toString(toDate(timestamp, 'UTC'))"


def sums() -> str:
    """By day: the number of rows of `{account:String}`, and a hash of all their values that ignores their order."""
    row = f"cityHash64(toString(tuple({', '.join(COLUMNS)})))"
    return (
        f"SELECT {_DAY} AS day, count() AS events, toString(groupBitXor({row})) AS hash"
        f" FROM {schema.EVENTS} WHERE account = {{account:String}} GROUP BY day ORDER BY day"
    )


def rows(parts: int) -> str:
    """The rows of `{account:String}` and `{day:String}`, in the part `{part:UInt64}` of several."""
    of_day = f"account = {{account:String}} AND {_DAY} = {{day:String}}"
    names = ", ".join(COLUMNS)
    return f"SELECT {names} FROM {schema.EVENTS} WHERE {of_day} AND cityHash64(id) % {parts} = {{part:UInt64}}"


def _identities(file: Path, account_id: str) -> str:
    """The hashes and start times of the rows in a file."""
    return (
        f"SELECT {HASH}, toUnixTimestamp64Milli(timestamp) FROM {_source(file)} WHERE account = {literal(account_id)}"
    )


def _insert(file: Path, account_id: str, first_ms: int, last_ms: int) -> str:
    """Insert the rows of an account in a file, except those that the table has. They start within the bounds."""
    names, account = ", ".join(COLUMNS), literal(account_id)
    stored = (
        f"SELECT account, id FROM {schema.EVENTS} WHERE account = {account}"
        f" AND timestamp >= fromUnixTimestamp64Milli({first_ms}, 'UTC')"
        f" AND timestamp <= fromUnixTimestamp64Milli({last_ms}, 'UTC')"
    )
    return (
        f"INSERT INTO {schema.EVENTS} ({names}) SELECT {names} FROM {_source(file)} WHERE account = {account}"
        f" AND (account, id) NOT IN ({stored}) SETTINGS max_threads = 1, max_partitions_per_insert_block = 0"
    )


class RowInsertion:
    """Inserts rows of files. `writing` excludes other INSERTs; `after_insert` is called when a statement has ended."""

    def __init__(
        self,
        client: Client,
        guard: PartGuard,
        *,
        writing: AbstractContextManager[object],
        after_insert: Callable[[], None],
    ) -> None:
        self._client = client
        self._guard = guard
        self._writing = writing
        self._after_insert = after_insert

    def identities_in(self, account_id: str, rows: Path) -> Identities:
        """The identities of the rows of an account in a file. Raises StoreError."""
        with self._writing, engine_errors():
            return identities(self._client.raw_query(_identities(rows, account_id), fmt="RowBinary"))

    def insert_rows(self, account_id: str, rows: Path, first_ms: int, last_ms: int) -> None:
        """Insert the rows of an account in a file, except those that the table has. Raises StoreError.

        They start within the bounds, whose days the caller has withdrawn.
        """
        try:
            with self._writing, engine_errors():
                self._client.command(_insert(rows, account_id, first_ms, last_ms))
                self._guard.verify_insert()
        finally:
            self._after_insert()


def _source(file: Path) -> str:
    return f"file({literal(str(file))}, {literal(FORMAT)})"
