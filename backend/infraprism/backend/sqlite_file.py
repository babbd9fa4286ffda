"""Whether an SQLite file of the data directory can be used."""

from __future__ import annotations

import logging
import sqlite3
import threading

_log = logging.getLogger(__name__)


def check_file(db: sqlite3.Connection) -> None:
    """Verify the pages of a file. Raises sqlite3.DatabaseError if it is damaged."""
    result = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if result != ["ok"]:
        raise sqlite3.DatabaseError("the file is damaged")


class FileState:
    """The last error of a file, which is logged once. `advice` says what to do. Thread-safe."""

    def __init__(self, name: str, advice: str) -> None:
        self._name = name
        self._advice = advice
        self._lock = threading.Lock()
        self.reason: str | None = None
        """Why the file cannot be used, or None."""

    def failed(self, error: Exception) -> None:
        """A statement failed. The first failure is logged."""
        reason = f"{self._name} cannot be used ({error}): {self._advice}"
        with self._lock:
            is_known = self.reason is not None
            self.reason = reason
        if not is_known:
            _log.error("%s", reason)

    def works(self) -> None:
        """The file can be used again."""
        with self._lock:
            self.reason = None
