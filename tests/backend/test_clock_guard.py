"""Events are not rejected as being in the future because the clock of the server went back."""

from __future__ import annotations

import time
from typing import Any

from infraprism.backend.ingest.clock_guard import ClockGuard
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS

DAY_MS = 86_400_000


class Stored:
    def __init__(self, newest_ms: int) -> None:
        self._newest_ms = newest_ms

    def read(self, sql: str, parameters: object) -> list[bytes]:
        return [b'{"newest":%d}' % self._newest_ms]


def guard(newest_ms: int, now_ms: list[int]) -> ClockGuard:
    database: Any = Stored(newest_ms)
    return ClockGuard(database, lambda: now_ms[0])


def test_a_clock_is_behind_if_it_could_not_have_accepted_the_newest_event() -> None:
    now_ms = [time.time_ns() // 1_000_000]
    assert not guard(0, now_ms).is_behind()
    assert not guard(now_ms[0] + MAX_CLOCK_SKEW_MS, now_ms).is_behind()
    assert guard(now_ms[0] + MAX_CLOCK_SKEW_MS + 1, now_ms).is_behind()


def test_a_clock_that_goes_back_while_the_server_runs_is_behind_until_it_is_set() -> None:
    now_ms = [time.time_ns() // 1_000_000]
    found = guard(0, now_ms)
    assert not found.is_behind()
    now_ms[0] -= 3 * DAY_MS
    assert found.is_behind()
    now_ms[0] += 3 * DAY_MS
    assert not found.is_behind()
