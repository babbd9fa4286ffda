"""Which backups a storage has, and when they expire.

`backups/ID.json` is written last: without it a backup does not exist. It is not encrypted, so that a server that cannot
decrypt can list, expire and verify backups. It has times, sizes and hashes, and no name or value of the data.
`backups/ID.manifest.age` has the names, sizes and hashes of the files. `objects/` has the contents. A part of the store
is never changed after it was written: it is an object that several backups use.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.storage import Storage

FORMAT: Final = 1
MAX_KEEP_DAYS: Final = 30
"""A deletion reaches all backups within this time."""
DAY_S: Final = 86_400
MAX_DURATION_S: Final = DAY_S // 2
"""Of making a backup. An object that no backup uses is deleted after this time."""
_BACKUPS: Final = "backups/"
_OBJECTS: Final = "objects/"
_INDEX: Final = re.compile(r"backups/(backup-\d{8}T\d{6}Z-[0-9a-f]{8})\.json")
_MANIFEST: Final = re.compile(r"backups/(backup-\d{8}T\d{6}Z-[0-9a-f]{8})\.manifest\.age")
_MAX_INDEX_BYTES: Final = 2**30


class StoredObject(NamedTuple):
    """An encrypted object: its name, size and hash."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A complete backup. Times are Unix seconds. `new_bytes` are those that no earlier backup had.

    `recipients` is a hash of the public keys that its objects are encrypted to.
    """

    id: str
    created_s: float
    expires_s: float
    version: str
    recipients: str
    manifest: StoredObject
    objects: tuple[StoredObject, ...]
    new_bytes: int

    @property
    def size_bytes(self) -> int:
        """The size of all its objects, encrypted."""
        return self.manifest.size_bytes + sum(found.size_bytes for found in self.objects)


def new_id(now_s: float) -> str:
    """The id of a backup that begins now."""
    return f"backup-{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def object_name(content_id: str) -> str:
    """The name of an object with a content."""
    return f"{_OBJECTS}{content_id[:2]}/{content_id}.tar.age"


def manifest_name(backup_id: str) -> str:
    """The name of the manifest of a backup."""
    return f"{_BACKUPS}{backup_id}.manifest.age"


class Catalog:
    """The backups of a storage. Methods raise StorageError."""

    def __init__(self, storage: Storage) -> None:
        self.storage: Final = storage

    def backups(self) -> list[Backup]:
        """All backups, oldest first. Raises BackupError if the index of one cannot be read."""
        return [
            self._read(found.name, match[1])
            for found in self.storage.stored(_BACKUPS)
            if (match := _INDEX.fullmatch(found.name))
        ]

    def find(self, backup_id: str | None) -> Backup:
        """The backup with an id, or the newest. Raises BackupError."""
        every = self.backups()
        found = [backup for backup in every if backup_id in (None, backup.id)]
        if not found:
            raise BackupError("there is no such backup: `infraprism backup list` shows all" if every else "no backup")
        return found[-1]

    def add(self, backup: Backup) -> None:
        """Make a backup exist: all its objects are stored."""
        content = json.dumps({"format": FORMAT, **asdict(backup)}, indent=1).encode()
        self.storage.put(f"{_BACKUPS}{backup.id}.json", lambda sink: _write(sink, content))

    def reusable(self, recipients: str, now_s: float) -> dict[str, StoredObject]:
        """The objects that a backup that begins now may use: they are kept until it exists, whatever else happens."""
        return {
            found.name: found
            for backup in self.backups()
            if backup.recipients == recipients and backup.expires_s > now_s + MAX_DURATION_S
            for found in backup.objects
        }

    def expire(self, now_s: float) -> list[str]:
        """Delete the backups that have expired, and what no backup uses. Returns the ids of the backups.

        Raises BackupError, and then deletes no object, if the index of a backup cannot be read.
        """
        every = self.backups()
        expired = [backup for backup in every if backup.expires_s <= now_s]
        for backup in expired:
            self.storage.delete(f"{_BACKUPS}{backup.id}.json")
        used = {found.name for backup in every if backup not in expired for found in backup.objects}
        kept = {backup.id for backup in every if backup not in expired}
        old_s = now_s - MAX_DURATION_S
        for found in self.storage.stored(_OBJECTS):
            if found.name not in used and found.modified_s < old_s:
                self.storage.delete(found.name)
        for found in self.storage.stored(_BACKUPS):
            match = _MANIFEST.fullmatch(found.name)
            if match and match[1] not in kept and (found.modified_s < old_s or match[1] in {one.id for one in expired}):
                self.storage.delete(found.name)
        self.storage.abandon(old_s)
        return [backup.id for backup in expired]

    def _read(self, name: str, backup_id: str) -> Backup:
        try:
            return _parsed(json.loads(_limited(self.storage.read(name))), backup_id)
        except (ValueError, KeyError, TypeError):
            raise BackupError(f"{name} cannot be read: it is damaged, or of a newer version of InfraPrism") from None


def _parsed(found: dict[str, Any], backup_id: str) -> Backup:
    if found.pop("format") != FORMAT or found["id"] != backup_id:
        raise ValueError
    objects = tuple(StoredObject(*one) for one in found.pop("objects"))
    return Backup(**{**found, "manifest": StoredObject(*found["manifest"])}, objects=objects)


def _limited(content: Iterator[bytes]) -> bytes:
    data = bytearray()
    for piece in content:
        data += piece
        if len(data) > _MAX_INDEX_BYTES:
            raise ValueError
    return bytes(data)


def _write(sink: Any, content: bytes) -> None:
    sink.write(content)


def total_bytes(objects: Iterable[StoredObject]) -> int:
    """The size of objects."""
    return sum(found.size_bytes for found in objects)
