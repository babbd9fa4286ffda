"""Threads that repeat the maintenance of a store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.database import StoreError

_INTERVAL_S: Final = 1.0

_log = logging.getLogger(__name__)


class Background:
    """Runs each task in a thread of its own, again and again until `stop`."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def wait(self, seconds: float) -> bool:
        """Wait, at most until `stop`. Returns whether that was called."""
        return self._stopping.wait(seconds)

    def repeat(self, name: str, task: Callable[[], float | None]) -> None:
        """Start a thread. `task` returns the seconds until it is called again; None: one second.

        ClickHouseError, StoreError and OSError are logged, and the task is called again.
        """
        thread = threading.Thread(target=self._run, args=(name, task), name=f"infraprism-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, task: Callable[[], float | None]) -> None:
        rest_s: float | None = None
        while not self._stopping.wait(_INTERVAL_S if rest_s is None else rest_s):
            rest_s = None
            try:
                rest_s = task()
            except (ClickHouseError, StoreError, OSError) as error:
                _log.warning("the %s of the store could not be maintained: %s", name, type(error).__name__)

    def stop(self) -> None:
        """Wait until running tasks have ended."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
