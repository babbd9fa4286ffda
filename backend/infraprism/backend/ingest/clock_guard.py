"""Detects that the clock of this machine went back, so that events are not rejected as being in the future."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from infraprism.backend.store import Database
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class ClockGuard:
    """Compares the clock with the newest stored event and with its own latest time.

    An event is accepted until `MAX_CLOCK_SKEW_MS` ahead of the clock. A clock that is further behind a stored event has
    gone back since then.
    """

    def __init__(self, database: Database, clock_ms: Callable[[], int] = now_ms) -> None:
        (row,) = database.read("SELECT toUnixTimestamp64Milli(max(timestamp)) AS newest FROM events", {})
        self._clock_ms = clock_ms
        self._latest_ms: int = json.loads(row)["newest"]

    def is_behind(self) -> bool:
        """Whether the clock went back by more than the accepted difference."""
        now = self._clock_ms()
        self._latest_ms = max(self._latest_ms, now)
        return now < self._latest_ms - MAX_CLOCK_SKEW_MS

    def is_in_future(self, timestamp_ms: int) -> bool:
        """Whether a start time is further ahead of the clock than is accepted."""
        return timestamp_ms > self._clock_ms() + MAX_CLOCK_SKEW_MS
