"""A small table of the embedded engine in this process, with parts to damage, and a clock to set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Table:
    """The table `events`, with one column. Each insert makes a part of the same partition."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def insert(self, rows: int) -> None:
        """Insert the numbers from 0."""
        self.client.command(f"INSERT INTO events SELECT number, '2026-09-01' FROM numbers({rows})")

    def merge(self) -> None:
        """Merge all parts. The sources stay on the disk."""
        self.client.command("OPTIMIZE TABLE events FINAL")

    def rows(self) -> int:
        """The rows that a query reads."""
        return int(str(self.client.command("SELECT count(ignore(number)) FROM events")))

    def parts(self, condition: str = "active") -> list[Path]:
        """The directories of the parts."""
        found = self.client.raw_query(f"SELECT path FROM system.parts WHERE table = 'events' AND {condition}")
        return [Path(line) for line in sorted(found.decode().splitlines())]

    def detached(self) -> list[str]:
        """The names in its directory of detached parts."""
        found = self.client.raw_query("SELECT data_paths[1] FROM system.tables WHERE name = 'events'")
        return sorted(path.name for path in (Path(found.decode().strip()) / "detached").iterdir())

    def remove_sources(self) -> None:
        """Delete the parts that were merged, as the engine does after their lifetime."""
        for files in self.parts("NOT active"):
            shutil.rmtree(files)


@contextmanager
def table(directory: Path, engine: str = "MergeTree") -> Iterator[Table]:
    """A new table. Merges of a `ReplacingMergeTree` lose the rows of equal numbers."""
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory))
    try:
        client.command(
            f"CREATE TABLE events (number UInt64, day Date) ENGINE = {engine} PARTITION BY toYYYYMM(day)"
            " ORDER BY number SETTINGS old_parts_lifetime = 3600, max_bytes_to_merge_at_max_space_in_pool = 1"
        )
        yield Table(client)
    finally:
        client.close()


class Failing:
    """A client of which the statements that start with a text fail, `times` times."""

    def __init__(self, client: Client, start: str, error: Callable[[], Exception], times: int) -> None:
        self._client = client
        self._start = start
        self._error = error
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def command(self, sql: str, *arguments: Any, **named: Any) -> Any:
        """Run a statement, or fail."""
        if sql.startswith(self._start) and self.times > 0:
            self.times -= 1
            raise self._error()
        return self._client.command(sql, *arguments, **named)
