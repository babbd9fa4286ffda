"""The interface between the backend and a database with ClickHouse SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Final, Protocol

from infraprism.backend.store.status import StoreStatus

ENTRIES: Final = "entries_of_this_batch"
"""Placeholder in the SQL of an INSERT for the table function that reads its data."""
ENGINE_ABORTED: Final = 236
"""The engine's error code after a fatal error, for every further statement."""
MAX_QUERY_S: Final = 30
MAX_QUERY_BYTES: Final = 2 * 2**30
"""Limits of one SELECT."""

Parameter = str | int | Sequence[str] | Sequence[int]


class StoreError(Exception):
    """A statement failed.

    Carries the engine's error code and the names of the parts in its message, and never the message, which may contain
    values of the data.
    """

    def __init__(self, code: int = 0, parts: frozenset[str] = frozenset()) -> None:
        super().__init__(f"the store failed with code {code}")
        self.code = code
        self.parts = parts


@dataclass(frozen=True)
class Layout:
    """How the data of an INSERT is read: length-prefixed protobuf messages as columns."""

    schema: Traversable
    message: str
    structure: str


class Database(Protocol):
    """Runs SQL; every method blocks, may be called from any thread, and raises StoreError."""

    def insert(self, sql: str, pieces: Sequence[bytes], layout: Layout) -> None:
        """Run an INSERT that reads `pieces` in place of `ENTRIES`. When it returns, the rows are durable.

        `sql` ends with a SETTINGS clause.
        """

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """The rows of a SELECT, each as one JSON object. `parameters` are bound to `{name:Type}` placeholders."""

    def read_as_writer(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """The same on the connection that inserts. It never waits for other readers."""

    def can_parse(self, pieces: Sequence[bytes], layout: Layout) -> bool:
        """Whether the engine can parse `pieces`. Nothing of the store is read or written."""

    def status(self) -> StoreStatus:
        """Whether events can be stored now, and what is damaged. Runs no statement."""

    def probe(self) -> None:
        """Read from the table of events, independent of other readers."""

    def close(self) -> None:
        """Wait for running statements, then close the files."""
