"""The day of the last use of each key, written by a thread: a request never waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from infraprism.backend.accounts import times
from infraprism.backend.relational import DatabaseUnavailableError

_INTERVAL_S: Final = 30.0
_MAX_KEYS: Final = 4096
_log = logging.getLogger(__name__)


class KeyUses:
    """Collects the days on which keys were used. Each key is written once a day and process.

    `write` gets hashes of keys and days, and raises DatabaseUnavailableError.
    """

    def __init__(self, write: Callable[[Iterable[tuple[bytes, str]]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: dict[bytes, int] = {}
        self._written: dict[bytes, int] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def record(self, hashed: bytes, last_used_day: int, now: float) -> None:
        """Record that a key is used. `last_used_day` is what was read, `now` is in Unix seconds."""
        today = int(now // times.DAY_S)
        if last_used_day >= today or self._written.get(hashed) == today or self._waiting.get(hashed) == today:
            return
        with self._lock:
            if len(self._waiting) < _MAX_KEYS:
                self._waiting[hashed] = today

    def start(self) -> None:
        """Write every 30 seconds, in a thread, until `close`."""
        self._thread = threading.Thread(target=self._run, name="infraprism-key-uses", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            self.write()

    def write(self) -> None:
        """Write what was recorded. If the database is unavailable, it is written the next time."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            self._write([(hashed, times.day(number)) for hashed, number in waiting.items()])
        except DatabaseUnavailableError as error:
            _log.warning("the days on which keys were used could not be written yet: %s", error)
            with self._lock:
                self._waiting = waiting | self._waiting
            return
        with self._lock:
            if len(self._written) >= _MAX_KEYS:
                self._written.clear()
            self._written |= waiting

    def close(self) -> None:
        """Stop the thread, and write what was recorded."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.write()
