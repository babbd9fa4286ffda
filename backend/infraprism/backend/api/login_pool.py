"""The threads in which passwords are hashed: two, so that logins do not take all cores from the receiver."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from infraprism.backend.api.errors import ApiError

_THREADS: Final = 2
_MAX_WAITING: Final = 64
_RETRY_AFTER_S: Final = 5
_log = logging.getLogger(__name__)
T = TypeVar("T")


class LoginPool:
    """Runs what hashes passwords, and what is done after a response."""

    def __init__(self) -> None:
        self._hashing = ThreadPoolExecutor(_THREADS, thread_name_prefix="infraprism-login")
        self._after = ThreadPoolExecutor(1, thread_name_prefix="infraprism-after-login")
        self._waiting = 0
        self._free_after = threading.BoundedSemaphore(_MAX_WAITING)

    async def run(self, call: Callable[[], T]) -> T:
        """The result of a call. Raises ApiError if too many wait."""
        if self._waiting >= _MAX_WAITING:
            raise ApiError(503, "overloaded", "too many logins at the same time: try again later", _RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._hashing, call)
        finally:
            self._waiting -= 1

    def later(self, call: Callable[[], None]) -> None:
        """Run a call in another thread. It is dropped if too many wait; an error is logged without its message."""
        if not self._free_after.acquire(blocking=False):
            _log.warning("too many logins at the same time: an entry of the audit log or a mail was dropped")
            return
        self._after.submit(self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # nothing waits for it
            _log.warning("work after a login failed: %s", type(error).__name__)
        finally:
            self._free_after.release()

    def close(self) -> None:
        """Wait for what runs."""
        self._hashing.shutdown()
        self._after.shutdown()
