"""Keeps the requests of recent events in memory until an account sends its first cleaned span.

Reading events takes more time than storing them, so events are read only for accounts that also send cleaned spans.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final, NamedTuple

MAX_ACCOUNT_BYTES: Final = 8 * 2**20
MAX_BYTES: Final = 64 * 2**20
"""Of all accounts. Above it the requests of the account that was added first are removed."""
MAX_AGE_S: Final = 900.0


class _Request(NamedTuple):
    received_s: float
    body: bytes


class RecentEvents:
    """The bodies of requests by account, the latest within the bounds. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._requests: dict[str, deque[_Request]] = {}
        self._account_bytes: defaultdict[str, int] = defaultdict(int)
        self._bytes = 0

    def add(self, account_id: str, body: bytes, now_s: float) -> None:
        """Keep a request whose events are stored."""
        requests = self._requests.setdefault(account_id, deque())
        requests.append(_Request(now_s, body))
        self._count(account_id, len(body))
        while requests and (
            self._account_bytes[account_id] > MAX_ACCOUNT_BYTES or requests[0].received_s < now_s - MAX_AGE_S
        ):
            self._count(account_id, -len(requests.popleft().body))
        while self._bytes > MAX_BYTES:
            self.take(next(iter(self._requests)), now_s)

    def _count(self, account_id: str, size: int) -> None:
        self._account_bytes[account_id] += size
        self._bytes += size

    def take(self, account_id: str, now_s: float) -> list[bytes]:
        """Remove and return the requests of an account, the oldest first."""
        self._bytes -= self._account_bytes.pop(account_id, 0)
        requests = self._requests.pop(account_id, ())
        return [request.body for request in requests if request.received_s >= now_s - MAX_AGE_S]
