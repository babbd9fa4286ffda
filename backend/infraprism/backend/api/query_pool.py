"""Runs the queries of REST requests on threads. No account can use all of them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from infraprism.backend.api.errors import ApiError

WORKERS: Final = 3
MAX_QUEUED: Final = 32
"""Queries of one account that wait or run."""
_RETRY_AFTER_S: Final = 2


class QueryPool:
    """One account uses at most all threads but one. Beyond `MAX_QUEUED` its queries are rejected."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="infraprism-rest")
        self._free = asyncio.Semaphore(workers)
        self._of_account: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(workers - 1))
        self._queued: Counter[str] = Counter()

    async def run(self, account_id: str, query: Callable[[], bytes]) -> bytes:
        """The result of a query. Raises ApiError if the account has too many."""
        if self._queued[account_id] >= MAX_QUEUED:
            raise ApiError(
                429, "too_many_queries", f"the account has {MAX_QUEUED} queries in progress: wait", _RETRY_AFTER_S
            )
        self._queued[account_id] += 1
        try:
            # In this order: an account waits for the shared threads with as many queries as it may run.
            async with self._of_account[account_id], self._free:
                return await asyncio.get_running_loop().run_in_executor(self._threads, query)
        finally:
            self._queued[account_id] -= 1
            if not self._queued[account_id]:
                del self._queued[account_id], self._of_account[account_id]

    def close(self) -> None:
        """Wait for running queries."""
        self._threads.shutdown(cancel_futures=True)
