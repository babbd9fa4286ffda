"""Counts REST requests per account and minute against the limit of the account's plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from infraprism.backend.accounts import PLANS, Account
from infraprism.backend.accounts.plans import SELF_HOSTED

_MINUTE_S: Final = 60


class Quota(NamedTuple):
    """The state of an account's rate limit after a request. `remaining` is negative if the request exceeds the limit.

    `reset_s` is the Unix time of the next minute, when counting restarts; `retry_after_s` is the time until then.
    """

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


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
        limit = PLANS.get(account.plan, PLANS[SELF_HOSTED])
        reset_s = (minute + 1) * _MINUTE_S
        return Quota(limit, limit - requests, reset_s, reset_s - now_s)
