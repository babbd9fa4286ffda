"""Verifies all parts in the background, and moves damaged ones aside, so that queries can read the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.damage import ScrubResult
from infraprism.backend.store.database import StoreError
from infraprism.backend.store.part_files import small_files_are_intact
from infraprism.backend.store.parts import Part, active_parts, is_intact

INTERVAL_S: Final = 86_400.0
RETRY_S: Final = 600.0
"""After a scrub that failed."""
_REST_FACTOR: Final = 4
"""A pause of this multiple of the time of a verification follows it, so that one core is at most a fifth busy."""
_MIN_SEARCH_INTERVAL_S: Final = 60.0

_log = logging.getLogger(__name__)


class Scrub:
    """Verifies the active parts of one table.

    `move_aside` moves damaged parts to the directory of detached parts. `rest` waits the given seconds and returns
    whether the server stops. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        client: Client,
        table: str,
        move_aside: Callable[[Client, Sequence[Part]], None],
        rest: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._table = table
        self._move_aside = move_aside
        self._rest = rest
        self._clock = clock
        self._lock = threading.Lock()
        self._searched_s = float("-inf")
        self._next_s = clock()
        self.last: ScrubResult | None = None

    def quick_check(self) -> None:
        """Verify the small files of all parts, and the sizes of the others. For the start."""
        with self._lock:
            damaged = [p for p in active_parts(self._client, self._table) if not small_files_are_intact(p.files)]
            if damaged:
                self._move_aside(self._client, damaged)

    def run_if_due(self) -> bool:
        """Verify all parts if the last scrub is a day ago. Returns whether it was due."""
        if self._clock() < self._next_s:
            return False
        # If it fails it is repeated soon.
        self._next_s = self._clock() + RETRY_S
        verified = rows = 0
        for name in sorted(part.name for part in self._active()):
            started_s = self._clock()
            with self._lock:
                part = next((found for found in self._active() if found.name == name), None)
                if part is not None:
                    self._verify([part])
                    verified, rows = verified + 1, rows + part.rows
            if self._rest((self._clock() - started_s) * _REST_FACTOR):
                return True
        self.last = ScrubResult(datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), verified, rows)
        self._next_s = self._clock() + INTERVAL_S
        return True

    def run_now(self, progress: Callable[[int, int], None]) -> None:
        """Verify all parts without pauses. `progress` gets the number of verified parts and of all parts."""
        with self._lock:
            parts = self._active()
            for number, part in enumerate(parts):
                progress(number, len(parts))
                self._verify([part])
            progress(len(parts), len(parts))

    def find_damage(self, names: frozenset[str]) -> bool:
        """Find the damaged part that a statement has read: one of these names, else by verifying all parts.

        Returns whether the statement may succeed now.
        """
        asked_s = self._clock()
        with self._lock:
            if self._searched_s > asked_s:
                return True
            try:
                parts = self._active()
                named = [part for part in parts if part.name in names]
                if named and self._verify(named):
                    self._searched_s = self._clock()
                    return True
                if names and not named:
                    return True  # it was moved aside, or merged, in the meantime
                if asked_s - self._searched_s < _MIN_SEARCH_INTERVAL_S:
                    return False
                found = self._verify(parts)
            except (ClickHouseError, StoreError, OSError) as error:
                _log.warning("the parts of the store could not be verified: %s", type(error).__name__)
                return False
            self._searched_s = self._clock()
        return found

    def _active(self) -> list[Part]:
        return active_parts(self._client, self._table)

    def _verify(self, parts: Sequence[Part]) -> bool:
        """Verify parts. Returns whether one was damaged; it is moved aside."""
        damaged = [part for part in parts if not is_intact(self._client, self._table, part)]
        if damaged:
            self._move_aside(self._client, damaged)
        return bool(damaged)
