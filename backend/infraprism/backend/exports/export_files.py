"""The files of exports: `<data_dir>/exports/<account>/<job>.<extension>`, 0600 in directories of 0700."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

DIRECTORY: Final = "exports"
PART: Final = "part"
"""The extension of a file that is not complete."""
_BLOCK_BYTES: Final = 2**20


class ExportFiles:
    """The directory of exports. Methods raise OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / DIRECTORY

    def path(self, account_id: str, job_id: str, extension: str) -> Path:
        """The path of a file of a job."""
        assert "/" not in account_id + job_id
        assert not account_id.startswith(".")
        return self._directory / account_id / f"{job_id}.{extension}"

    def create_directory(self, account_id: str) -> None:
        """Create the directory of an account."""
        for directory in (self._directory, self._directory / account_id):
            directory.mkdir(mode=0o700, exist_ok=True)

    def remove(self, account_id: str, job_id: str) -> None:
        """Remove all files of a job."""
        for found in (self._directory / account_id).glob(f"{job_id}.*"):
            _remove(found)

    def remove_account(self, account_id: str) -> None:
        """Remove all files of an account."""
        if (self._directory / account_id).is_dir():
            shutil.rmtree(self._directory / account_id)
            sync_directory(self._directory)

    def remove_others(self, kept: Callable[[], AbstractSet[str]]) -> None:
        """Remove the files of all jobs but these."""
        if not self._directory.is_dir():
            return
        found = [file for account in self._directory.iterdir() for file in account.iterdir()]
        ids = kept() if found else frozenset()
        for file in found:
            if file.name.partition(".")[0] not in ids:
                _remove(file)
        for account in self._directory.iterdir():
            if not any(account.iterdir()):
                account.rmdir()

    def free_bytes(self) -> int:
        """The free space of the file system."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize


class PartFile:
    """A file that grows by chunks. It begins with the first `length` bytes that it has."""

    def __init__(self, path: Path, length: int) -> None:
        """Raises OSError."""
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
        try:
            self._file.truncate(length)
            self._file.seek(length)
        except BaseException:
            self._file.close()
            raise
        self.length = length

    @staticmethod
    def has(path: Path, length: int) -> bool:
        """Whether there is a file with at least `length` bytes."""
        return path.is_file() and path.stat().st_size >= length

    def append(self, chunk: bytes) -> None:
        """Append durably. Raises OSError."""
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) or 0 :]
        os.fdatasync(self._file.fileno())
        self.length += len(chunk)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def sha256_of(path: Path, check: Callable[[], None]) -> str:
    """The SHA-256 of a file. `check` is called often, and may raise."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            found.update(block)
            check()
    return found.hexdigest()


def publish(source: Path, target: Path) -> None:
    """Give a complete file its name, durably. Raises OSError."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
