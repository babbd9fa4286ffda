"""Counts REST requests per account and minute against the limit of the account's plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from infraprism.backend.accounts import Account

_MINUTE_S: Final = 60
_UNLIMITED: Final = "unlimited"


class Quota(NamedTuple):
    """The state of an account's rate limit after a request. `remaining` is negative if the request exceeds the limit.

    Both are None if the account has no limit.

    `reset_s` is the Unix time of the next minute, when counting restarts; `retry_after_s` is the time until then.
    """

    limit: int | None
    remaining: int | None
    reset_s: int
    retry_after_s: int

    @property
    def is_exceeded(self) -> bool:
        """Whether the request must be refused."""
        return self.remaining is not None and self.remaining < 0

    @property
    def limit_text(self) -> str:
        """The value of `X-RateLimit-Limit`."""
        return _UNLIMITED if self.limit is None else str(self.limit)

    @property
    def remaining_text(self) -> str:
        """The value of `X-RateLimit-Remaining`."""
        return _UNLIMITED if self.remaining is None else str(max(self.remaining, 0))


class RateLimit:
    """A fixed window of one minute. `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minute = 0
        self._requests: dict[str, int] = {}

    def count(self, account: Account) -> Quota:
        """Count one request of an account."""
        now_s = int(self._clock())
        minute = now_s // _MINUTE_S
        if minute != self._minute:
            self._minute, self._requests = minute, {}
        requests = self._requests[account.id] = self._requests.get(account.id, 0) + 1
        limit = account.limits.requests_per_minute
        reset_s = (minute + 1) * _MINUTE_S
        return Quota(limit, None if limit is None else limit - requests, reset_s, reset_s - now_s)
