"""Hard links to all parts of the store at one moment, and the files that describe its tables."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from infraprism.backend.store import schema
from infraprism.backend.store.engine import engine_errors
from infraprism.backend.store.part_files import contents, parsed_name
from infraprism.backend.store.part_guard import PartGuard
from infraprism.backend.store.parts import rows_of

SHADOW: Final = "shadow"
_LINKS: Final = "backup"
_DETACHED: Final = "detached"
_NOT_COPIED: Final = frozenset({SHADOW, "stored_ids", "tmp", "status", f"{schema.INGEST}.sql"})
"""Hard links themselves, what is derived from the tables, and what the engine writes at each start."""


class FrozenEvents(NamedTuple):
    """The events at that moment: their number, and the first and the last start time in UTC (ISO 8601), if any."""

    number: int
    first: str | None
    last: str | None


class Freezing:
    """Makes the hard links. `writing` excludes INSERTs, `computing` the computation of aggregates."""

    def __init__(
        self,
        client: Client,
        guard: PartGuard,
        *,
        writing: AbstractContextManager[object],
        computing: threading.Lock,
    ) -> None:
        self._client = client
        self._guard = guard
        self._writing = writing
        self._computing = computing

    def freeze(self, copy: Callable[[], None], *, hold_merges: bool) -> bool:
        """Make hard links to all parts, and call `copy`, while no event and no aggregate changes.

        Returns False if a merged part is not verified, or aggregates are computed now. With `hold_merges` no merge
        begins within some seconds. Raises StoreError, OSError.
        """
        with self._writing, engine_errors():
            if not self._computing.acquire(blocking=False):
                return False
            try:
                if not self._guard.has_verified_all(self._client, hold_merges=hold_merges):
                    return False
                copy()
                _freeze(self._client)
            finally:
                self._computing.release()
        return True


def _freeze(client: Client) -> None:
    for row in rows_of(client, "SELECT name FROM system.tables WHERE database = 'default' AND has_own_data ORDER BY 1"):
        client.command(f"ALTER TABLE {row['name']} FREEZE WITH NAME '{_LINKS}'")


def events(store: Path) -> FrozenEvents:
    """The events in the hard links. Raises OSError."""
    table = (store / "data" / "default" / schema.EVENTS).resolve()
    found = [
        contents(files, parsed_name(files.name))
        for name, files in parts(store)
        if (store / name).parent.resolve() == table
    ]
    rows = sum(one.rows or 0 for one in found)
    first = min((one.first for one in found if one.first), default=None)
    return FrozenEvents(rows, first, max((one.last for one in found if one.last), default=None))


def remove(store: Path) -> None:
    """Remove the hard links of an earlier call."""
    shutil.rmtree(store / SHADOW, ignore_errors=True)


def parts(store: Path) -> Iterator[tuple[Path, Path]]:
    """The directory of each part as it would be in the store, relative to it, and where its hard links are."""
    links = store / SHADOW / _LINKS
    for files in sorted(links.glob("store/*/*/*")):
        yield files.relative_to(links), files


def descriptions(store: Path) -> list[Path]:
    """The other files of the store, relative to it: definitions, links, and parts that queries do not read."""
    return [path.relative_to(store) for path in _walk(store, store)]


def _walk(folder: Path, store: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_COPIED or path.name.endswith(".tmp"):
            continue
        if path.is_symlink() or path.is_file():
            yield path
        elif not _is_part(path):
            yield from _walk(path, store)


def _is_part(path: Path) -> bool:
    """Whether a directory is a part that queries read, or have read, or an incomplete one."""
    if path.parent.name == _DETACHED:
        return False
    return parsed_name(path.name) is not None or path.name.startswith(("tmp", "delete_tmp"))
