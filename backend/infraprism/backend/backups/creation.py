"""Makes a backup: a snapshot of the data directory, as encrypted objects in the storage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from infraprism.backend.accounts import ACCOUNTS_FILE
from infraprism.backend.backups import catalog, snapshot
from infraprism.backend.backups.archive import File, Source, content_id, described, tar
from infraprism.backend.backups.catalog import DAY_S, MAX_DURATION_S, MAX_KEEP_DAYS, Backup, Catalog, StoredObject
from infraprism.backend.backups.encryption import Measured, Recipients
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.snapshot import Snapshot
from infraprism.backend.backups.storage import Sink, Storage
from infraprism.backend.store.embedded import EmbeddedDatabase

_SMALL_BYTES: Final = 2**20
"""Smaller parts are one object together with all other files: they will be merged soon."""

Progress = Callable[[int, int], None]
"""Gets the stored bytes and the bytes to store. It may raise an error to end the backup."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made. `pause_s` is how long inserts have waited; `duration_s` is the time of everything."""

    backup: Backup
    events: int
    pause_s: float
    duration_s: float


class Creation:
    """Makes backups of a data directory.

    `clock` returns Unix seconds. A backup has every event that was acknowledged before `make` was called.
    """

    def __init__(
        self,
        data_dir: Path,
        database: EmbeddedDatabase,
        storage: Storage,
        recipients: Recipients,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_dir = data_dir
        self._database = database
        self._storage = storage
        self._catalog = Catalog(storage)
        self._recipients = recipients
        self._clock = clock

    def make(self, keep_days: int, progress: Progress = lambda _done, _total: None) -> Made:
        """Make a backup. Raises BackupError, StorageError, StoreError, OSError."""
        if not 1 <= keep_days <= MAX_KEEP_DAYS:
            raise BackupError(f"backups are kept for 1 to {MAX_KEEP_DAYS} days, so that deletions reach them")
        started_s = self._clock()
        backup_id = catalog.new_id(started_s)
        reusable = self._catalog.reusable(self._recipients.id, started_s)
        with snapshot.taken(self._data_dir, self._database) as taken:
            packs = [_described(pack) for pack in _packs(taken)]
            names = [catalog.object_name(content_id(files)) for _, files in packs]
            new = {name: pack for name, pack in zip(names, packs, strict=True) if name not in reusable}
            total = sum(file.size_bytes for _, files in new.values() for file in files)
            stored, done = dict(reusable), 0
            progress(0, total)
            for name, (sources, files) in new.items():
                stored[name] = self._put(name, tar(sources, files))
                done += sum(file.size_bytes for file in files)
                progress(done, total)
            manifest = self._put(catalog.manifest_name(backup_id), _manifest(backup_id, started_s, taken, packs, names))
        duration_s = self._clock() - started_s
        if duration_s > MAX_DURATION_S:
            raise BackupError("the backup took longer than 12 hours: objects that it uses may be deleted")
        backup = Backup(
            backup_id,
            started_s,
            started_s + keep_days * DAY_S,
            version("infraprism-opentelemetry"),
            self._recipients.id,
            manifest,
            tuple(stored[name] for name in dict.fromkeys(names)),
            manifest.size_bytes + catalog.total_bytes(stored[name] for name in new),
        )
        self._catalog.add(backup)
        return Made(backup, taken.events.number, taken.pause_s, duration_s)

    def _put(self, name: str, content: Iterator[bytes]) -> StoredObject:
        measured: list[Measured] = []

        def produce(sink: Sink) -> None:
            measured.append(Measured(sink))
            self._recipients.encrypt(content, measured[0])

        self._storage.put(name, produce)
        return StoredObject(name, measured[0].size_bytes, measured[0].sha256)


def _packs(taken: Snapshot) -> list[list[Source]]:
    """The files of each object."""
    others, packs = list(taken.others), []
    for sources in taken.parts.values():
        if sum(source.path.stat().st_size for source in sources) < _SMALL_BYTES:
            others += sources
        else:
            packs.append(sources)
    return [*packs, others]


def _described(sources: Sequence[Source]) -> tuple[Sequence[Source], list[File]]:
    return sources, [described(source) for source in sources]


def _manifest(
    backup_id: str,
    created_s: float,
    taken: Snapshot,
    packs: Sequence[tuple[Sequence[Source], Sequence[File]]],
    names: Sequence[str],
) -> Iterator[bytes]:
    objects = [
        {"name": name, "files": [file._asdict() for file in files]}
        for name, (_, files) in zip(names, packs, strict=True)
    ]
    manifest = {
        "format": catalog.FORMAT,
        "id": backup_id,
        "created_s": created_s,
        "version": version("infraprism-opentelemetry"),
        "events_in_store": taken.events.number,
        "first_event": taken.events.first,
        "last_event": taken.events.last,
        "has_accounts": any(file.name == ACCOUNTS_FILE for _, files in packs for file in files),
        "objects": objects,
    }
    yield json.dumps(manifest, separators=(",", ":")).encode()
