"""The ClickHouse engine embedded in this process (chDB), used through the ClickHouse client."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store import schema
from infraprism.backend.store.database import ENTRIES, Layout, Parameter, StoreError
from infraprism.backend.store.insert_check import InsertCheck
from infraprism.backend.store.quoting import literal

_READERS: Final = 2
_READ_SETTINGS: Final = {
    "readonly": "2",
    "max_execution_time": "60",
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "0",
}


class EmbeddedDatabase:
    """The database in one directory. A directory can be opened by one process, and a process can open one directory.

    Raises StoreError if the directory cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        with _engine_errors():
            self._writer = _client(directory, {})
            schema.create(self._writer.command)
            self._insert_check = InsertCheck(self._writer, schema.EVENTS)
            self._idle_readers: SimpleQueue[Client] = SimpleQueue()
            for _ in range(_READERS):
                self._idle_readers.put(_client(directory, _READ_SETTINGS))

    def insert(self, sql: str, pieces: Sequence[bytes], layout: Layout) -> None:
        """See Database."""
        with pieces_as_file(pieces) as path, _engine_errors():
            source = f"file({literal(path)}, 'Protobuf', {literal(layout.structure)})"
            # The path of the schema file is passed: for a schema passed as text the engine keeps a copy in the working
            # directory.
            settings = f"format_schema = {literal(f'{layout.schema}:{layout.message}')}"
            self._writer.command(f"{sql.replace(ENTRIES, source)}, {settings}")
            self._insert_check.verify()

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """See Database."""
        client = self._idle_readers.get()
        try:
            with _engine_errors():
                found: bytes = client.raw_query(sql, parameters=dict(parameters), fmt="JSONEachRow")
        finally:
            self._idle_readers.put(client)
        return found.splitlines()

    def close(self) -> None:
        """See Database."""
        for _ in range(_READERS):
            self._idle_readers.get().close()
        self._writer.close()


def _client(directory: Path, settings: Mapping[str, Any]) -> Client:
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory.resolve()))
    for name, value in settings.items():
        client.set_client_setting(name, value)
    return client


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise StoreError(getattr(error, "code", None) or 0) from None


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
