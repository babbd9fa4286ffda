"""Counters of event outcomes and of internal errors.

Each event ends in exactly one outcome: delivered, spooled, rejected or dropped. Outcomes are counted by reason.
"""

from __future__ import annotations

import os
import weakref
from collections import Counter
from typing import Final, Literal

from infraprism.schema.native_threads import ReentrantLock

Outcome = Literal["delivered", "spooled", "rejected", "dropped"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("delivered", "spooled", "rejected", "dropped")


_live: Final[weakref.WeakSet[DeliveryStats]] = weakref.WeakSet()


class DeliveryStats:
    """Counters by outcome and reason; thread-safe.

    `accepted` counts every event received. `accepted` minus the sum of the outcomes is the number of pending events. A
    forked child counts from zero.
    """

    def __init__(self) -> None:
        self.restart()
        _live.add(self)

    def restart(self) -> None:
        """Reset all counters and the lock, which may be held by a thread of the parent in a forked child."""
        # Reentrant: a finalizer that ends a call may run during a count and count an event itself.
        self._lock = ReentrantLock()
        self._outcomes: Counter[tuple[Outcome, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._accepted = 0

    def accept(self, count: int = 1) -> None:
        """Count events received."""
        with self._lock:
            self._accepted += count

    def end(self, outcome: Outcome, reason: str = "ok", count: int = 1) -> None:
        """Count the outcome of events; `reason` is a constant of this code base, never external text."""
        if count:
            with self._lock:
                self._outcomes[outcome, reason] += count

    def error(self, where: str) -> None:
        """Count an internal error that was not raised to the application; `where` is a constant of this code base."""
        with self._lock:
            self._errors[where] += 1

    @property
    def accepted(self) -> int:
        """Events received so far."""
        return self._accepted

    def count(self, outcome: Outcome, reason: str | None = None) -> int:
        """Events with this outcome, for one reason or for all reasons."""
        with self._lock:
            return sum(n for (o, r), n in self._outcomes.items() if o == outcome and reason in (None, r))

    def snapshot(self) -> dict[str, dict[str, int]]:
        """All counters: `{"delivered": {"ok": 3}, ..., "errors": {}, "events": {"accepted": 3, "pending": 0}}`."""
        with self._lock:
            result: dict[str, dict[str, int]] = {outcome: {} for outcome in OUTCOMES}
            for (outcome, reason), n in sorted(self._outcomes.items()):
                result[outcome][reason] = n
            result["errors"] = dict(self._errors)
            ended = sum(self._outcomes.values())
            result["events"] = {"accepted": self._accepted, "pending": self._accepted - ended}
            return result


def _after_fork() -> None:
    for delivery_stats in list(_live):
        delivery_stats.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
