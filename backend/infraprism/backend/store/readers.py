"""The clients that read from the embedded engine: a few, which statements share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from clickhouse_connect.driver.client import Client

from infraprism.backend.store.database import MAX_QUERY_BYTES, MAX_QUERY_S, Parameter
from infraprism.backend.store.engine import connect, engine_errors
from infraprism.backend.store.quoting import literal

_READERS: Final = 4
_READ_ONLY: Final = "2"
_SETTINGS: Final = {
    "readonly": _READ_ONLY,
    "max_execution_time": str(MAX_QUERY_S),
    "max_memory_usage": str(MAX_QUERY_BYTES),
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "0",
}


class Readers:
    """The clients of a directory. A statement waits until one is idle. Methods raise StoreError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._idle: SimpleQueue[Client] = SimpleQueue()
        for _ in range(_READERS):
            self._idle.put(connect(directory, _SETTINGS))
        self._probing = connect(directory, _SETTINGS | {"max_execution_time": "1"})

    def read(self, sql: str, parameters: Mapping[str, Parameter], form: str, settings: Mapping[str, str]) -> bytes:
        """The result of a SELECT in a format."""
        client = self._idle.get()
        try:
            with engine_errors():
                found: bytes = client.raw_query(sql, parameters=dict(parameters), fmt=form, settings=dict(settings))
        finally:
            self._idle.put(client)
        return found

    def probe(self, table: str) -> None:
        """Read from a table for at most a second, independent of other readers. One thread at a time may call it."""
        with engine_errors():
            self._probing.raw_query(f"SELECT account FROM {table} LIMIT 1")

    def cancel_long(self) -> None:
        """Cancel the reads that have run for more than a second; they raise StoreError."""
        with engine_errors():
            client = connect(self._directory, {})
            try:
                client.command(f"KILL QUERY WHERE elapsed > 1 AND Settings['readonly'] = {literal(_READ_ONLY)} ASYNC")
            finally:
                client.close()

    @contextmanager
    def none(self) -> Iterator[None]:
        """Within the block no statement reads."""
        taken = [self._idle.get() for _ in range(_READERS)]
        try:
            yield
        finally:
            for client in taken:
                self._idle.put(client)

    def close(self) -> None:
        """Wait for running statements, and close the clients."""
        for _ in range(_READERS):
            self._idle.get().close()
        self._probing.close()
