"""Acknowledges small requests when a log has them, and applies the log to the store in groups.

A statement of the store costs tens of milliseconds, also for one event. Many small requests share one write and one
fsync of the log, and later one statement. An event may be in the log and in the store, or twice in the log: the store
has it once. Therefore a step that fails or is interrupted is repeated without looking at what it has done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from infraprism.backend.ingest.clock_guard import now_ms
from infraprism.backend.ingest.write_ahead_log.applier import Applier, Writer
from infraprism.backend.ingest.write_ahead_log.records import Record
from infraprism.backend.ingest.write_ahead_log.segments import Segments
from infraprism.backend.ingest.write_ahead_log.unapplied import MAX_GROUP_EVENTS, Unapplied

_SHRINK: Final = 10
_GROW: Final = 2
"""Factors of the size of groups after the store has refused one, or stored all."""
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """`interval_s`: how often the log is applied, unless a query waits for it.

    `read_timeout_s`: how long a query waits. `close_timeout_s`: how long the end of the server waits.
    `retry_s`: when the store is asked again. `pause_s`: when the disk is used again after it has refused a write.
    """

    interval_s: float = 1.0
    retry_s: float = 1.0
    pause_s: float = 5.0
    read_timeout_s: float = 10.0
    close_timeout_s: float = 5.0


@dataclass(eq=False, slots=True)
class _Waiting:
    record: Record
    is_durable: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WriteAheadLog:
    """The log of one server. `start` is called first.

    `can_store` tells whether the disk has space. `max_bytes` limits the memory of the records that are not applied:
    beyond it requests are stored without the log. `clock_ms` returns milliseconds since 1970.
    """

    def __init__(
        self,
        segments: Segments,
        writer: Writer,
        can_store: Callable[[], bool],
        *,
        max_bytes: int = 64 * 2**20,
        timing: Timing = Timing(),
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._segments = segments
        self._can_store = can_store
        self._timing = timing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infraprism-log")
        self._applier = Applier(writer, lambda name, body: self._on_thread(segments.keep_aside, name, body), clock_ms)
        self._queue: list[_Waiting] = []
        self._append_task: asyncio.Task[None] | None = None
        self._paused_until_s = float("-inf")
        # Held from appending records until they count as unapplied, and while files are finished.
        self._lock = asyncio.Lock()
        self._unapplied = Unapplied(max_bytes)
        self._group_events = MAX_GROUP_EVENTS
        self._replayed = 0
        self._paths: list[Path] = []
        self._applying_since_s = time.monotonic()
        self._due_s = float("inf")
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._closing = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Apply what an earlier process has left. What the store refuses now is applied later."""
        left = await self._on_thread(self._segments.left)
        self._unapplied.load(left.records)
        self._replayed = self._unapplied.last
        self._paths += left.paths
        if left.paths and not await self._apply():
            _log.warning("%d acknowledged events are not in the store yet: it is tried again", self._unapplied.events)
            self._due_s = time.monotonic() + self._timing.retry_s
        self._task = asyncio.create_task(self._run())

    async def append(self, record: Record) -> bool:
        """Wait until a record is durable. Returns False if it is not: then the caller stores it otherwise."""
        if self._closing or time.monotonic() < self._paused_until_s or not self._unapplied.reserve(record):
            return False
        waiting = _Waiting(record)
        self._queue.append(waiting)
        if self._append_task is None:
            self._append_task = asyncio.create_task(self._append_queued())
        return await waiting.is_durable

    async def _append_queued(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            async with self._lock:
                is_durable = await self._append([waiting.record for waiting in batch])
            for waiting in batch:
                if not waiting.is_durable.done():
                    waiting.is_durable.set_result(is_durable)
        self._append_task = None

    async def _append(self, records: Sequence[Record]) -> bool:
        try:
            if self._can_store():
                await self._on_thread(self._segments.append, records)
                self._unapplied.add(records)
                self._apply_by(self._applying_since_s + self._timing.interval_s)
                return True
        except Exception as error:  # noqa: BLE001  # every request must complete
            self._paused_until_s = time.monotonic() + self._timing.pause_s
            _log.warning("the log cannot be written (%s): events are stored without it", _cause(error))
        for record in records:
            self._unapplied.release(record)
        return False

    def _apply_by(self, due_s: float) -> None:
        if due_s < self._due_s:
            self._due_s = due_s
            self._changed.set()

    async def is_applied(self, account_id: str) -> bool:
        """Wait until the store has all events of an account that were acknowledged before this call.

        Returns False if it takes too long.
        """
        last = self._unapplied.last
        if not self._unapplied.has(account_id, last):
            return True
        self._apply_by(time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.read_timeout_s), self._applied:
                return await self._applied.wait_for(lambda: not self._unapplied.has(account_id, last))
        return False

    def is_replayed(self, account_id: str) -> bool:
        """Whether the store has all events of an account that earlier processes have acknowledged."""
        return not self._unapplied.has(account_id, self._replayed)

    @property
    def unapplied_events(self) -> int:
        """The number of acknowledged events that the store does not have yet."""
        return self._unapplied.events

    @property
    def rejected_events(self) -> int:
        """The number of acknowledged events that the store has rejected. They are kept aside."""
        return self._applier.rejected.total()

    def gauges(self) -> dict[str, tuple[str, Callable[[], int]]]:
        """The values for `/metrics`, by name: the description, and what returns the value."""
        return {
            "log_unapplied_events": (
                "Acknowledged events that the store does not have yet.",
                lambda: self.unapplied_events,
            ),
            "log_rejected_events": (
                "Acknowledged events that the store has rejected; they are kept as files.",
                lambda: self.rejected_events,
            ),
            "log_expired_events": (
                "Acknowledged events that expired before the store had them; they are not kept.",
                lambda: self._applier.expired,
            ),
        }

    @property
    def is_alive(self) -> bool:
        """Whether the task that applies the log is running."""
        return self._task is not None and not self._task.done()

    async def ended(self) -> None:
        """Wait until the task that applies the log has ended."""
        assert self._task is not None
        await asyncio.wait({self._task})

    async def close(self) -> None:
        """Apply the log. What takes too long is applied at the next start."""
        self._closing = True
        if self._append_task is not None:
            await asyncio.wait({self._append_task})
        self._stopping = True  # nothing is appended any more
        self._changed.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._timing.close_timeout_s)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                await self._until_due()
                is_last = self._stopping
                self._due_s = float("inf")
                if not await self._apply():
                    self._apply_by(time.monotonic() + self._timing.retry_s)
        except Exception as error:  # noqa: BLE001  # the process ends; no request may wait for ever
            _log.error("the log is applied no more: %s", type(error).__name__)  # one line
        finally:
            self._closing = True

    async def _until_due(self) -> None:
        while not self._stopping and (remaining_s := self._due_s - time.monotonic()) > 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if remaining_s == float("inf") else remaining_s):
                    await self._changed.wait()

    async def _apply(self) -> bool:
        """Store all records, and delete their files. Returns False if some have to be tried again."""
        self._applying_since_s = time.monotonic()
        async with self._lock:
            self._paths += await self._on_thread(self._segments.take_finished)
            groups = list(self._unapplied.groups(self._group_events))
        stored = await self._applier.stored(groups, at_once=self._group_events == MAX_GROUP_EVENTS)
        async with self._applied:
            self._unapplied.remove(stored)
            self._applied.notify_all()
        if len(stored) < len(groups):
            # Perhaps the store can have less at a time.
            self._group_events = max(self._group_events // _SHRINK, 1)
            return False
        self._group_events = min(self._group_events * _GROW, MAX_GROUP_EVENTS)
        self._paths = await self._on_thread(self._segments.delete, self._paths)
        return True

    async def _on_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _cause(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
