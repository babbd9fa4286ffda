"""Objects of a backup: tar archives of files, with the same bytes for the same files."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.storage import pieces

_MODE: Final = 0o600
_BLOCK: Final = tarfile.BLOCKSIZE


class Source(NamedTuple):
    """A file to back up, or a symbolic link: its name in the data directory, and where it is now."""

    name: str
    path: Path


class File(NamedTuple):
    """A file of a backup: its name in the data directory, its size, and its hash. A link has a target instead."""

    name: str
    size_bytes: int
    sha256: str
    target: str = ""


def described(source: Source) -> File:
    """The file as it is now. Raises OSError."""
    if source.path.is_symlink():
        return File(source.name, 0, "", str(source.path.readlink()))
    hashed, size = sha256(), 0
    with source.path.open("rb") as file:
        for piece in pieces(file):
            hashed.update(piece)
            size += len(piece)
    return File(source.name, size, hashed.hexdigest())


def content_id(files: Sequence[File]) -> str:
    """The same for the same names and contents only."""
    return sha256(json.dumps(files).encode()).hexdigest()


def tar(sources: Sequence[Source], files: Sequence[File]) -> Iterator[bytes]:
    """A tar archive of files. Raises OSError, and BackupError if a file changed since it was described."""
    for source, file in zip(sources, files, strict=True):
        member = tarfile.TarInfo(file.name)
        member.mode = _MODE
        if file.target:
            member.type, member.linkname = tarfile.SYMTYPE, file.target
        member.size = file.size_bytes
        yield member.tobuf(tarfile.PAX_FORMAT)
        if file.target:
            continue
        size = 0
        with source.path.open("rb") as reading:
            for piece in pieces(reading):
                size += len(piece)
                yield piece
        if size != file.size_bytes:
            raise BackupError(f"{file.name} changed while it was copied")
        yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)
