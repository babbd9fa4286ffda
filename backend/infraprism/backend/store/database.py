"""The interface between the backend and a database with ClickHouse SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from infraprism.backend.store.identities import Identities
from infraprism.backend.store.status import StoreStatus

ENTRIES: Final = "entries_of_this_batch"
"""Placeholder in the SQL of an INSERT for the table function that reads its data."""
STAGED: Final = "staged_rows_of_this_lane"
"""Placeholder in the SQL of an INSERT for the table of its lane."""
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


class StoredPart(NamedTuple):
    """A part of the table of events. A merged part has the blocks and the partition of its sources."""

    name: str
    partition_id: str
    first_block: int
    last_block: int
    rows: int

    def contains(self, other: StoredPart) -> bool:
        """Whether the other part is this one, or may be a source of it."""
        return (
            self.partition_id == other.partition_id
            and self.first_block <= other.first_block
            and other.last_block <= self.last_block
        )


class Staged(NamedTuple):
    """What was staged: the identities of the accepted events, and the rejected spans by request and reason."""

    identities: Identities
    rejected: Sequence[tuple[int, str, int]]


class Readable(Protocol):
    """Runs SELECT statements."""

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """The rows of a SELECT, each as one JSON object. `parameters` are bound to `{name:Type}` placeholders."""


class Database(Protocol):
    """Runs SQL; every method blocks, may be called from any thread, and raises StoreError.

    Events are stored in three steps. Batches are staged in several lanes at the same time, and each lane is used by one
    thread at a time. One batch at a time is inserted into the table, and its parts are verified.
    """

    @property
    def lanes(self) -> int:
        """The number of lanes."""

    @property
    def derived_directory(self) -> Path:
        """A directory for files that are derived from the table and live as long as it."""

    def stage(self, lane: int, sql: str, pieces: Sequence[bytes], layout: Layout, rows: int) -> Staged:
        """Run an INSERT into the table of a lane (`STAGED`), which is empty before. Nothing is stored.

        It reads `pieces` in place of `ENTRIES`, and has a row for each of the `rows` spans. `sql` ends with a SETTINGS
        clause.
        """

    def insert_staged(self, lane: int, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        """Insert the accepted events of a lane into the table of events, except those that it has, and empty the lane.

        `recorded` has the start times under which events of these hashes may be stored: the table is read there.
        Without `has_doubles` no two staged events are the same. When it returns, the rows are durable and verified. If
        it fails, some of the rows may be stored.
        """

    def can_parse(self, lane: int, pieces: Sequence[bytes], layout: Layout) -> bool:
        """Whether the engine can parse `pieces`. Nothing of the store is read or written."""

    def table_id(self) -> str:
        """The id of the table of events. Another table has another one."""

    def stored_parts(self) -> list[StoredPart]:
        """The parts of the table of events that queries read."""

    def identities_of(self, part: StoredPart) -> Iterator[Identities]:
        """The identities of the events of a part. Fewer than its rows if it was merged in the meantime."""

    def on_load(self, loaded: Callable[[], None]) -> None:
        """Call `loaded` whenever the table is loaded again without some of its parts, before the next INSERT.

        After that the numbers of their blocks can be given out again.
        """

    def read(self, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> list[bytes]:
        """The rows of a SELECT, each as one JSON object. `parameters` are bound to `{name:Type}` placeholders.

        `events` is a condition on the table of events: the statement sees no other row of it, wherever it reads it.
        """

    def read_as(self, form: str, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> bytes:
        """The rows of a SELECT in another format of the engine, such as RowBinary. See `read`."""

    def convert(self, source: Path, structure: str, target: Path, should_stop: Callable[[], bool]) -> bool:
        """Write the rows of a file (RowBinary, zstd) to a Parquet file, in their order and in constant memory.

        `structure` has the columns and types of both. Returns False if it ended early because of `should_stop`.
        """

    def status(self) -> StoreStatus:
        """Whether events can be stored now, and what is damaged. Runs no statement."""

    def probe(self) -> None:
        """Read from the table of events, independent of other readers."""

    def write_fault(self) -> str | None:
        """Why the table of events cannot be written now, or None. Writes a file that has no name."""

    def close(self) -> None:
        """Wait for running statements, then close the files."""
