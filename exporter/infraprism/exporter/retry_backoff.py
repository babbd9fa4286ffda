"""When the next request is sent, and how many events it may hold.

A failure that is worth a retry is retried without limit: the events stay in the bounded queue. Their timestamps stay
correct however late they arrive.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
"""After an outage of the endpoint, exports resume within this time."""
LONGEST_RETRY_AFTER_S: Final = 3600.0
"""The longest Retry-After that is honoured."""
MAX_POISON_ATTEMPTS: Final = 8
"""A minute or two. Then a single event that only causes server errors is rejected, so that it does not block others."""
_MAX_DOUBLINGS: Final = 10
_GROWTH_STEPS: Final = 16
"""Successes until requests have their full size again after one was too large."""


def wait_s(attempt: int, retry_after_s: float | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (the first is 1).

    Exponential backoff with full jitter, so that many processes do not retry at the same moment. A time that the
    endpoint gave is honoured, and jitter is added to it.
    """
    backoff = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt - 1, _MAX_DOUBLINGS))
    if retry_after_s is None:
        return random.uniform(0, backoff)  # noqa: S311  # jitter is not a secret
    requested = min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
    return requested + random.uniform(0, min(1.0, requested / 10))  # noqa: S311  # as above


class RetryBackoff:
    """Backoff and batch size, adapted to the endpoint. Times are `time.monotonic()`. Not thread-safe."""

    def __init__(self, max_batch_events: int) -> None:
        self._max_events = max_batch_events
        self.batch_events = max_batch_events
        """How many events the next request may hold."""
        self.not_before = 0.0
        """When the next request may be sent."""
        self.attempts = 0
        """Failed attempts since the last success or `skip_backoff`."""
        self._poison_attempts = 0
        self._is_wait_requested = False

    def succeeded(self) -> None:
        """The endpoint accepted or rejected a request: the next one can be sent at once."""
        self.attempts = self._poison_attempts = 0
        self.not_before = 0.0
        self._is_wait_requested = False
        self.batch_events = min(self._max_events, self.batch_events + max(1, self._max_events // _GROWTH_STEPS))

    def too_large(self, events: int) -> None:
        """A request of so many events was too large: the next one has half of them and is sent at once."""
        self.batch_events = max(1, events // 2)

    def failed(self, events: int, now: float, retry_after_s: float | None, *, maybe_poison: bool) -> None:
        """A request of so many events is to be retried.

        Where one of these events may be the cause, the next request has half of them, down to a single one. So all
        other events are delivered, and a temporary outage costs almost nothing.
        """
        self.attempts += 1
        self._is_wait_requested = retry_after_s is not None
        self.not_before = now + wait_s(self.attempts, retry_after_s)
        self._poison_attempts = self._poison_attempts + 1 if maybe_poison and events == 1 else 0
        if maybe_poison:
            self.batch_events = max(1, events // 2)

    @property
    def retries_exhausted(self) -> bool:
        """Whether a single event has caused nothing but server errors for MAX_POISON_ATTEMPTS attempts."""
        return self._poison_attempts >= MAX_POISON_ATTEMPTS

    def skip_backoff(self) -> None:
        """End the current backoff, for a flush or a shutdown. A wait that the endpoint requested is kept."""
        self.attempts = 0
        if not self._is_wait_requested:
            self.not_before = 0.0
