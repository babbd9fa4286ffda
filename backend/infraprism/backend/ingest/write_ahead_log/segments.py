"""The files of the log. A file is written until its records are applied, and then deleted.

A file that could not be written or synchronised is never written again: after a failed fsync the kernel may drop the
data and report success the next time.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from infraprism.backend.ingest.write_ahead_log.records import Record, decoded, encoded

LOG_DIRECTORY: Final = "log"
"""In the data directory."""
_NAME: Final = re.compile(r"(\d{16})\.log")
ASIDE: Final = "not-stored"
"""The directory, within it, of what the store has rejected."""
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_synchronize: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

_log = logging.getLogger(__name__)


class Files:
    """The operations on files that change the log. Each raises OSError."""

    def create(self, path: Path) -> int:
        """Create a file for this user only. Returns its descriptor."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, _FILE_MODE)

    def write(self, file: int, data: bytes | memoryview) -> int:
        """Write at the end. Returns the number of written bytes."""
        return os.write(file, data)

    def synchronize(self, file: int) -> None:
        """Wait until what was written is on the disk."""
        _synchronize(file)

    def synchronize_directory(self, path: Path) -> None:
        """Wait until the names of new files are on the disk."""
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file."""
        source.rename(target)

    def delete(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()


class Left(NamedTuple):
    """What an earlier process has left: the records, and the files that have them."""

    records: list[Record]
    paths: list[Path]


class Segments:
    """The files of one directory, which is created. Not thread-safe. Raises OSError."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self._directory = directory
        self._files = files or Files()
        self._aside = directory / ASIDE
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        self._files.synchronize_directory(directory.parent)
        self._existing = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
        self._number = max((int(path.stem) for path in self._existing), default=0)
        self._current: int | None = None
        self._path = directory
        self._finished: list[Path] = []

    def left(self) -> Left:
        """The records of an earlier process. A damaged file is copied, so that it can be inspected."""
        records: list[Record] = []
        paths: list[Path] = []
        for path in self._existing:
            try:
                content = decoded(path.read_bytes())
            except OSError as error:
                _log.error("%s cannot be read (%s): its events are not stored", path, error.strerror)  # one line
                continue
            records += content.records
            if content.damaged_bytes:
                _log.error(
                    "%s is damaged: %d of its bytes belong to no valid record; the file is kept in %s",
                    path,
                    content.damaged_bytes,
                    self._aside,
                )
                if not self._copy_aside(path):
                    continue
            paths.append(path)
        return Left(records, paths)

    def append(self, records: Sequence[Record]) -> None:
        """Write records. When this returns, they are on the disk."""
        data = memoryview(b"".join(map(encoded, records)))
        try:
            if self._current is None:
                self._create()
            assert self._current is not None
            while data:
                data = data[self._files.write(self._current, data) :]
            self._files.synchronize(self._current)
        except BaseException:
            self._finish()
            raise

    def _create(self) -> None:
        self._number += 1
        self._path = self._directory / f"{self._number:016d}.log"
        self._current = self._files.create(self._path)
        self._files.synchronize_directory(self._directory)

    def _finish(self) -> None:
        """Write the current file no more."""
        current, self._current = self._current, None
        if current is not None:
            self._finished.append(self._path)
            with suppress(OSError):  # what counts is synchronised before
                self._files.close(current)

    def take_finished(self) -> list[Path]:
        """Write the current file no more. Returns the files that were finished since the previous call."""
        self._finish()
        finished, self._finished = self._finished, []
        return finished

    def delete(self, paths: Sequence[Path]) -> list[Path]:
        """Delete files. Returns those that could not be deleted."""
        remaining = []
        for path in paths:
            try:
                self._files.delete(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                _log.warning("%s cannot be deleted: %s", path, error.strerror)
                remaining.append(path)
        return remaining

    def keep_aside(self, name: str, request: bytes) -> None:
        """Keep a request that the store rejects, as a file of its own. When this returns, it is on the disk."""
        self._write_aside(f"{name}.otlp", request)

    def _copy_aside(self, path: Path) -> bool:
        try:
            self._write_aside(f"{path.name}.damaged", path.read_bytes())
        except OSError as error:
            _log.warning("%s cannot be copied: %s", path, error.strerror)
            return False
        return True

    def _write_aside(self, name: str, content: bytes) -> None:
        self._aside.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        incomplete = self._aside / f"{name}.incomplete"
        incomplete.unlink(missing_ok=True)
        file = self._files.create(incomplete)
        try:
            data = memoryview(content)
            while data:
                data = data[self._files.write(file, data) :]
            self._files.synchronize(file)
        finally:
            self._files.close(file)
        self._files.rename(incomplete, self._aside / name)
        self._files.synchronize_directory(self._aside)
