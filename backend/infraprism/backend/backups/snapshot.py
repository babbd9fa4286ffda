"""The files of a data directory at one moment, with every event that was acknowledged before.

The order of the copies makes them fit together:

1. The log of small requests. What is in it later, and what was applied from it before, is in the store.
2. `accounts.sqlite`, by the backup function of SQLite. A deletion that it records as done is done in the store, which
   is copied later.
3. Within one pause of the inserts: the databases of published and finalised days, the definitions of the tables, and
   hard links to all parts. So a published day has the sums of its events.

Not copied: `calls.sqlite` (it recognises calls whose spans are sent again within minutes), the index of stored ids
(derived from the table), the files of exports (they expire, and can be made again), and the key of a first start.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infraprism.backend.accounts import ACCOUNTS_FILE
from infraprism.backend.backups.archive import Source
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.ingest.write_ahead_log.records import decoded, encoded
from infraprism.backend.ingest.write_ahead_log.segments import LOG_DIRECTORY
from infraprism.backend.store import frozen
from infraprism.backend.store.damage import QUARANTINE
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.frozen import FrozenEvents
from infraprism.backend.store.inventory import INVENTORY

SNAPSHOT: Final = "backup-snapshot"
"""The directory of the copies, in the data directory. It is removed when the backup is stored."""
STORE: Final = "store"
_NOT_WITHIN: Final = (ACCOUNTS_FILE, "calls.sqlite")
"""The databases that are copied before the pause, or not at all. All others say which sums are read."""
_ATTEMPTS: Final = 600
_HELD_ATTEMPTS: Final = 50
_REST_S: Final = 0.1
_SEGMENT: Final = ".log"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a moment: those of each part of the store, and all others.

    `pause_s` is how long inserts have waited for it.
    """

    parts: dict[str, list[Source]]
    others: list[Source]
    events: FrozenEvents
    pause_s: float


@contextmanager
def taken(
    data_dir: Path,
    database: EmbeddedDatabase,
    *,
    rest: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Snapshot]:
    """Take a snapshot, and remove its copies at the end of the block. Raises BackupError, StoreError, OSError."""
    copies = data_dir / SNAPSHOT
    remove(data_dir)
    try:
        copies.mkdir(mode=0o700)
        _copy_log(data_dir, copies)
        if (data_dir / ACCOUNTS_FILE).exists():
            copy_sqlite(data_dir / ACCOUNTS_FILE, copies / ACCOUNTS_FILE)
        pause_s = _freeze(data_dir, database, rest, clock)
        store = data_dir / STORE
        yield Snapshot(
            {
                str(STORE / name): [Source(str(STORE / name / file.name), file) for file in sorted(files.iterdir())]
                for name, files in frozen.parts(store)
            },
            [Source(str(path.relative_to(copies)), path) for path in _files(copies)],
            frozen.events(store),
            pause_s,
        )
    finally:
        remove(data_dir)


def remove(data_dir: Path) -> None:
    """Remove the copies of a snapshot, also of one that was interrupted."""
    shutil.rmtree(data_dir / SNAPSHOT, ignore_errors=True)
    frozen.remove(data_dir / STORE)


def _freeze(
    data_dir: Path, database: EmbeddedDatabase, rest: Callable[[float], object], clock: Callable[[], float]
) -> float:
    """Wait for a moment in which every merged part is verified, and freeze the store. Returns the pause."""
    for attempt in range(_ATTEMPTS):
        started_s = clock()
        if database.freezing.freeze(lambda: _copy_within_the_pause(data_dir), hold_merges=attempt >= _HELD_ATTEMPTS):
            return clock() - started_s
        rest(_REST_S)
    raise BackupError("the store did not become quiet within a minute: see /readyz, and try again")


def _copy_within_the_pause(data_dir: Path) -> None:
    copies, store = data_dir / SNAPSHOT, data_dir / STORE
    for path in sorted(data_dir.glob("*.sqlite")):
        if path.name not in _NOT_WITHIN:
            copy_sqlite(path, copies / path.name)
    with suppress(FileNotFoundError):
        shutil.copy2(data_dir / INVENTORY, copies / INVENTORY)
    for path in frozen.descriptions(store):
        _copy(store / path, copies / STORE / path)
    if (data_dir / QUARANTINE).is_dir():
        for source in _files(data_dir / QUARANTINE):
            _copy(source, copies / source.relative_to(data_dir))


def _copy(source: Path, target: Path) -> None:
    """Copy a small file, and make a hard link to a large one: those are never changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() or source.stat().st_size <= _COPIED_BYTES:
        shutil.copy2(source, target, follow_symlinks=False)
    else:
        target.hardlink_to(source)


_COPIED_BYTES: Final = 2**20


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that may be in use. Raises OSError."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.Error as error:
        raise OSError(None, f"{source.name} cannot be copied ({error})") from None


def _copy_log(data_dir: Path, copies: Path) -> None:
    """Copy the complete records. The last one of a file may be incomplete now: it is not acknowledged yet."""
    log = data_dir / LOG_DIRECTORY
    if not log.is_dir():
        return
    target = copies / LOG_DIRECTORY
    target.mkdir(mode=0o700)
    for path in _files(log):
        copy = target / path.relative_to(log)
        copy.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # it was applied: the store has its events
            data = path.read_bytes()
            content = decoded(data) if path.suffix == _SEGMENT else None
            if content is not None and not content.damaged_bytes:
                data = b"".join(map(encoded, content.records))
            copy.write_bytes(data)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
