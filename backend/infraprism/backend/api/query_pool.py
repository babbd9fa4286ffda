"""Runs the queries of REST requests on threads. No account can use all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from infraprism.backend.api.errors import ApiError
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates import RelationExpiredError

WORKERS: Final = 3
MAX_QUEUED: Final = 32
"""Queries of one account that wait or run."""
_RETRY_AFTER_S: Final = 2
_INCOMPLETE: Final = "the store does not have all acknowledged events yet: try again later"
_CANCEL_INTERVAL_S: Final = 0.5


class QueryPool:
    """One account uses at most all threads but one. Beyond `MAX_QUEUED` its queries are rejected.

    `is_complete` waits until the store has all acknowledged events of an account; False: it took too long.
    """

    def __init__(self, workers: int = WORKERS, is_complete: Callable[[str], Awaitable[bool]] | None = None) -> None:
        self._is_complete = is_complete
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="infraprism-rest")
        self._free = asyncio.Semaphore(workers)
        self._of_account: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(workers - 1))
        self._queued: Counter[str] = Counter()

    async def run(self, account_id: str, query: Callable[[], bytes]) -> bytes:
        """The result of a query. Raises ApiError if the account has too many, or if its events are incomplete."""
        if self._queued[account_id] >= MAX_QUEUED:
            raise ApiError(
                429, "too_many_queries", f"the account has {MAX_QUEUED} queries in progress: wait", _RETRY_AFTER_S
            )
        self._queued[account_id] += 1
        try:
            await self.wait_until_complete(account_id)
            # In this order: an account waits for the shared threads with as many queries as it may run.
            async with self._of_account[account_id], self._free:
                return await asyncio.get_running_loop().run_in_executor(self._threads, _answer, query)
        finally:
            self._queued[account_id] -= 1
            if not self._queued[account_id]:
                del self._queued[account_id]
                self._of_account.pop(account_id, None)

    async def wait_until_complete(self, account_id: str) -> None:
        """Wait until the store has all acknowledged events of an account. Raises ApiError if it takes too long."""
        if self._is_complete is not None and not await self._is_complete(account_id):
            raise ApiError(503, "store_unavailable", _INCOMPLETE, _RETRY_AFTER_S)

    async def close(self, cancel: Callable[[], None]) -> None:
        """Wait for running queries. `cancel` ends the long ones; it is called again until all have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        ended = asyncio.create_task(asyncio.to_thread(self._threads.shutdown))
        while not (await asyncio.wait((ended,), timeout=_CANCEL_INTERVAL_S))[0]:
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(cancel)


def _answer(query: Callable[[], bytes]) -> bytes:
    """The result of a query. It is planned again if the aggregates were made anew in the meantime."""
    try:
        return query()
    except RelationExpiredError:
        return query()
