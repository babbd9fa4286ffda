"""Verifies backups, and restores one into an empty directory.

A directory with the marker `restoring` is not complete: no server starts in it, and only a restore may use it.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any

from infraprism.backend.backups import catalog
from infraprism.backend.backups.archive import File
from infraprism.backend.backups.catalog import Backup, StoredObject
from infraprism.backend.backups.encryption import Identities
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.storage import Storage, pieces
from infraprism.backend.preflight import RESTORING

Progress = Callable[[int, int], None]


class Reading:
    """Reads a backup with the identity that decrypts it."""

    def __init__(self, storage: Storage, backup: Backup, identities: Identities) -> None:
        self._storage = storage
        self._backup = backup
        self._identities = identities

    def verify(self, progress: Progress = lambda _done, _total: None) -> Mapping[str, Any]:
        """Read and compare every byte. Returns the manifest. Raises BackupError, StorageError."""
        return self._read(lambda _file, content: _hashed(content), progress)

    def restore(self, directory: Path, progress: Progress = lambda _done, _total: None) -> Mapping[str, Any]:
        """Restore into a directory that is empty, or missing, or that has an interrupted restore.

        The marker is left for the caller to remove (`finish`). Returns the manifest. Raises BackupError, OSError.
        """
        begin(directory)
        root = directory.resolve()

        def write(file: File, content: IO[bytes] | None) -> str:
            path = root / file.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever can write to the storage can make a backup: a link must not lead out of the directory.
            parent = path.parent.resolve()
            if not (parent.is_relative_to(root) and (parent / file.target).resolve().is_relative_to(root)):
                raise BackupError(f"{file.name} is not in the data directory: the backup is not one of InfraPrism")
            if content is None:
                path.symlink_to(file.target)
                return ""
            return _written(path, content)

        manifest = self._read(write, progress)
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]:
            _synchronize(folder)
        return manifest

    def _read(self, use: Callable[[File, IO[bytes] | None], str], progress: Progress) -> Mapping[str, Any]:
        manifest = self._manifest()
        objects = {found.name: found for found in self._backup.objects}
        expected = {one["name"]: [File(**file) for file in one["files"]] for one in manifest["objects"]}
        if set(objects) != set(expected):
            raise BackupError(f"{self._backup.id} has other objects than its manifest: it is damaged")
        total, done = self._backup.size_bytes, 0
        for name, files in expected.items():
            with self._decrypted(objects[name]) as content:
                _extract(name, content, files, use)
            done += objects[name].size_bytes
            progress(done, total)
        return manifest

    def _manifest(self) -> Mapping[str, Any]:
        with self._decrypted(self._backup.manifest) as content:
            try:
                manifest: dict[str, Any] = json.loads(content.read())
            except ValueError:
                raise BackupError(f"the manifest of {self._backup.id} is damaged") from None
        if manifest.get("format") != catalog.FORMAT or manifest.get("id") != self._backup.id:
            raise BackupError(f"the manifest of {self._backup.id} is that of another backup, or of a newer version")
        return manifest

    @contextmanager
    def _decrypted(self, found: StoredObject) -> Iterator[IO[bytes]]:
        """The content of an object. At the end of the block its last byte was read and compared."""
        reading, writing = os.pipe()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with os.fdopen(writing, "wb") as sink:
                    self._identities.decrypted(verified(self._storage, found), sink)
            except BaseException as error:  # noqa: BLE001  # it is raised by the caller
                failed.append(error)

        decrypting = threading.Thread(target=run, name="infraprism-restore", daemon=True)
        decrypting.start()
        try:
            with os.fdopen(reading, "rb") as content:
                yield content
                while content.read(2**20):
                    pass
        except (tarfile.TarError, EOFError, ValueError):
            decrypting.join()
            _raise(found, failed)
            raise BackupError(f"{found.name} is damaged") from None
        except BackupError:
            decrypting.join()
            _raise(found, failed)  # a byte that is not as it was stored is the cause
            raise
        decrypting.join()
        _raise(found, failed)


def verified(storage: Storage, found: StoredObject) -> Iterator[bytes]:
    """The encrypted content of an object. Raises BackupError at its end if a byte is not as it was stored."""
    hashed, size = sha256(), 0
    for piece in storage.read(found.name):
        hashed.update(piece)
        size += len(piece)
        yield piece
    if size != found.size_bytes or hashed.hexdigest() != found.sha256:
        raise BackupError(f"{found.name} is not as it was stored: {size} of {found.size_bytes} bytes")


def _raise(found: StoredObject, failed: Sequence[BaseException]) -> None:
    for error in failed:
        if isinstance(error, BrokenPipeError):
            continue
        if isinstance(error, BackupError) and found.name not in str(error):
            raise BackupError(f"{found.name}: {error}") from None
        raise error


def begin(directory: Path) -> None:
    """Prepare a directory for a restore. Raises BackupError if it has other files, and OSError."""
    marker = directory / RESTORING
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if marker.exists():
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != marker:
                path.unlink()
    elif any(directory.iterdir()):
        raise BackupError(f"{directory} is not empty: a backup is restored into an empty directory only")
    marker.touch(mode=0o600)
    _synchronize(directory)


def finish(directory: Path) -> None:
    """Everything is restored: a server may start. Raises OSError."""
    (directory / RESTORING).unlink()
    _synchronize(directory)


def _extract(
    name: str, content: IO[bytes], files: Sequence[File], use: Callable[[File, IO[bytes] | None], str]
) -> None:
    """Read a tar archive, which must have exactly these files, in their order. Raises BackupError."""
    remaining = iter(files)
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for member in archive:
            file = next(remaining, None)
            if file is None or member.name != file.name or not _is_inside(member):
                raise BackupError(f"{name} has other files than its manifest")
            if member.issym():
                if member.linkname != file.target:
                    raise BackupError(f"{name}: the link {file.name} has another target")
                use(file, None)
                continue
            reading = archive.extractfile(member)
            if reading is None or member.size != file.size_bytes or use(file, reading) != file.sha256:
                raise BackupError(f"{name}: {file.name} is not as it was backed up")
    if next(remaining, None) is not None:
        raise BackupError(f"{name} has fewer files than its manifest")


def _is_inside(member: tarfile.TarInfo) -> bool:
    """Whether a member is a file, or a link, whose place is in the directory."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.issym()):
        return False
    if member.issym():
        target = PurePosixPath(member.linkname)
        return not target.is_absolute() and target.parts.count("..") < len(name.parts)
    return True


def _hashed(content: IO[bytes] | None) -> str:
    hashed = sha256()
    for piece in pieces(content) if content is not None else ():  # type: ignore[arg-type]  # it has `read`
        hashed.update(piece)
    return hashed.hexdigest()


def _written(path: Path, content: IO[bytes]) -> str:
    hashed = sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for piece in pieces(content):  # type: ignore[arg-type]  # it has `read`
            hashed.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _synchronize(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def verify_objects(storage: Storage, backup: Backup, progress: Progress = lambda _done, _total: None) -> None:
    """Read and compare every encrypted byte, without an identity. Raises BackupError, StorageError."""
    done = 0
    for found in (backup.manifest, *backup.objects):
        for _ in verified(storage, found):
            pass
        done += found.size_bytes
        progress(done, backup.size_bytes)
