"""When the next request is sent, and how many events it may hold.

There is no last attempt while the endpoint only says "later": events wait in the bounded queue, however old they are,
since a late event still bills the right call at the right time.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
"""So that delivery is back within half a minute of the endpoint."""
LONGEST_RETRY_AFTER_S: Final = 3600.0
"""An endpoint may ask for more; then it is asked once an hour."""
DOUBTFUL_ATTEMPTS: Final = 8
"""A minute or two. Then an event that meets nothing but faults of the endpoint stops holding up those behind it."""
_MOST_DOUBLINGS: Final = 10
_STEPS: Final = 16
"""Successes until requests are back at their full size after the endpoint found one too large."""


def wait_s(attempt: int, retry_after_s: float | None = None) -> float:
    """Seconds to wait after the failed attempt number `attempt` (the first is 1).

    Exponential with full jitter, so that the processes of a company do not come back all at once; what the endpoint
    asked for is kept to, and jitter is added to it.
    """
    backoff = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt - 1, _MOST_DOUBLINGS))
    if retry_after_s is None:
        return random.uniform(0, backoff)  # noqa: S311  # spreads load; guards no secret
    asked = min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
    return asked + random.uniform(0, min(1.0, asked / 10))  # noqa: S311  # as above


class RetryBackoff:
    """How delivery adapts to the endpoint. Times are `time.monotonic()`; not safe between threads."""

    def __init__(self, max_batch_events: int) -> None:
        self._max_events = max_batch_events
        self.batch_events = max_batch_events
        """How many events the next request may hold."""
        self.not_before = 0.0
        """When the next request may be sent."""
        self.attempts = 0
        """Failed ones since the last success, or since somebody was in a hurry."""
        self._doubts = 0
        self._asked_to_wait = False

    def succeeded(self) -> None:
        """The endpoint took or refused a request: nothing is in the way of the next one."""
        self.attempts = self._doubts = 0
        self.not_before = 0.0
        self._asked_to_wait = False
        self.batch_events = min(self._max_events, self.batch_events + max(1, self._max_events // _STEPS))

    def too_large(self, events: int) -> None:
        """A request of so many events did not fit: the next one is half of it, at once."""
        self.batch_events = max(1, events // 2)

    def failed(self, events: int, now: float, retry_after_s: float | None, *, maybe_poison: bool) -> None:
        """A request of so many events is to be sent again later.

        Where these very events may be the cause, the next request is half of it, down to the one event at fault: the
        others get through, and an endpoint that is only out of order for a while loses next to nothing.
        """
        self.attempts += 1
        self._asked_to_wait = retry_after_s is not None
        self.not_before = now + wait_s(self.attempts, retry_after_s)
        self._doubts = self._doubts + 1 if maybe_poison and events == 1 else 0
        if maybe_poison:
            self.batch_events = max(1, events // 2)

    @property
    def retries_exhausted(self) -> bool:
        """Whether a single event met nothing but faults of the endpoint, often enough."""
        return self._doubts >= DOUBTFUL_ATTEMPTS

    def skip_backoff(self) -> None:
        """Somebody waits: end a pause of our own. One that the endpoint asked for is kept to."""
        self.attempts = 0
        if not self._asked_to_wait:
            self.not_before = 0.0
