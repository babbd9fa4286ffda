"""Where backups are stored: objects with a name, in a directory or in a bucket.

An object is complete or does not exist. It is written as a stream, in constant memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from infraprism.backend.backups.errors import StorageError

_INCOMPLETE: Final = ".incomplete"
_DIRECTORY_MODE: Final = 0o700


class Sink(Protocol):
    """What an object is written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write all of `data`."""

    def flush(self) -> None:
        """Do nothing, or write what is buffered."""


class Stored(NamedTuple):
    """An object in the storage."""

    name: str
    size_bytes: int
    modified_s: float


Produce = Callable[[Sink], None]
"""Writes the content of an object."""


class Storage(Protocol):
    """The storage of one URL. Every method raises StorageError."""

    def put(self, name: str, produce: Produce) -> None:
        """Store what `produce` writes. If that raises, there is no object, and the error is raised."""

    def read(self, name: str) -> Iterator[bytes]:
        """The content of an object, in pieces."""

    def stored(self, prefix: str) -> list[Stored]:
        """The objects with a name that begins with `prefix`, which ends with a slash."""

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""

    def abandon(self, before_s: float) -> None:
        """Delete what incomplete writes have left that began before a time."""


class DirectoryStorage:
    """Objects as files of a directory, which is created. Files have mode 0600."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, produce: Produce) -> None:
        """See Storage."""
        path = self._root / name
        incomplete = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}{_INCOMPLETE}")
        with _errors(name):
            path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = os.open(incomplete, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                produce(file)
                with _errors(name):
                    file.flush()
                    os.fsync(file.fileno())
            with _errors(name):
                incomplete.replace(path)
                _synchronize(path.parent)
        except BaseException:
            with suppress(OSError):
                incomplete.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """See Storage."""
        with _errors(name), (self._root / name).open("rb") as file:
            yield from pieces(file)

    def stored(self, prefix: str) -> list[Stored]:
        """See Storage."""
        folder = self._root / prefix
        with _errors(prefix):
            if not folder.is_dir():
                return []
            found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != _INCOMPLETE]
            return sorted(
                Stored(str(path.relative_to(self._root)), (state := path.stat()).st_size, state.st_mtime)
                for path in found
            )

    def delete(self, name: str) -> None:
        """See Storage."""
        with _errors(name):
            (self._root / name).unlink(missing_ok=True)

    def abandon(self, before_s: float) -> None:
        """See Storage."""
        with _errors("."):
            for path in self._root.rglob(f"*{_INCOMPLETE}"):
                if path.stat().st_mtime < before_s:
                    path.unlink(missing_ok=True)


_PIECE_BYTES: Final = 2**20


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file in pieces of a MiB."""
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _synchronize(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(error.errno, f"{name} of the backups: {error.strerror}") from None
