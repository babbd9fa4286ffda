"""Stores the events of many requests in one batch. A request completes when its batch is stored."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infraprism.backend.ingest import statement
from infraprism.backend.ingest.clock_guard import ClockGuard, now_ms
from infraprism.backend.ingest.event_inserter import (
    BatchRequest,
    BeforeInsert,
    Cutoff,
    EventInserter,
    Index,
    Refusing,
    RowInserter,
    pieces,
)
from infraprism.backend.ingest.fair_queue import FairQueue
from infraprism.backend.ingest.otlp_requests import EncodedSpans, normalized
from infraprism.backend.ingest.rejections import (
    CLOCK_BEHIND,
    INDEX_LOADING,
    STOPPING,
    STORE_FAILED,
    UNREADABLE,
    RejectedError,
    Rejection,
)
from infraprism.backend.store import Database, StoreError
from infraprism.backend.store.database import ENGINE_ABORTED

_LINGER_S: Final = 0.1
"""How long a request waits for others, which share the fixed cost of a statement."""
_BATCH_BYTES: Final = 32 * 2**20
_CONCURRENT_BYTES: Final = 8 * 2**20
"""From this size on, waiting requests are stored while another batch is being stored."""
_SHARED_BYTES: Final = 24 * 2**20
"""From this size on, waiting requests are divided between the lanes that are idle."""
LOAD_WAIT_S: Final = 2.0
"""How long requests wait for the index of stored ids at a start. If it is missing it is read from the events, which
takes 7 seconds per 10 million: requests are rejected until then, since senders do not wait as long."""
_NORMALIZED_S: Final = 600.0
"""How long the requests of an account are encoded anew after one that the engine could not parse."""
RejectedSpans = Mapping[str, int]
"""The number of rejected spans of a request, by reason."""
Outcome = RejectedSpans | Rejection

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    account_id: str
    usage_detail: bool
    spans: EncodedSpans
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def size(self) -> int:
        return len(self.spans.body)

    @property
    def request(self) -> BatchRequest:
        return BatchRequest(self.account_id, self.usage_detail, self.spans)


class BatchWriter:
    """The only writer of the store.

    It stores as many batches at the same time as the database has lanes. `before_insert` is called on their threads,
    one at a time, before the events of a batch can be read. `ids` is the index of stored ids, and
    events before the `cutoff_ms` of their account, and those that `refusals` select, are rejected, see EventInserter.
    If the index takes longer than `load_wait_s` to open, requests are rejected with INDEX_LOADING until it is open.
    """

    def __init__(
        self,
        database: Database,
        clock_ms: Callable[[], int] = now_ms,
        before_insert: BeforeInsert = lambda _: None,
        ids: Index | None = None,
        cutoff_ms: Cutoff = lambda _: None,
        *,
        refusals: Refusing | None = None,
        load_wait_s: float = LOAD_WAIT_S,
    ) -> None:
        self._database = database
        self._load_wait_s = load_wait_s
        self.is_loading = False
        """Whether requests are rejected because the index is being read."""
        self._inserter = EventInserter(database, before_insert, ids, cutoff_ms, refusals=refusals)
        self._clock_guard = ClockGuard(database, clock_ms)
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._waiting_since_s = 0.0
        self._arrived = asyncio.Event()
        self._collecting = asyncio.Lock()
        self._writing: list[list[_Waiting]] = [[] for _ in range(database.lanes)]
        self._closing = False
        self._normalized_until_s: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(database.lanes, thread_name_prefix="infraprism-writer")
        self._task = asyncio.create_task(self._run())

    def wait_for_batches(self) -> None:
        """Wait until the batches that are being stored now are stored, or have failed. For other threads."""
        self._inserter.wait_for_batches()

    def insert_rows(self, account_id: str, rows: Path, database: RowInserter) -> None:
        """Store the rows of an account in a file, except those that the table has. Raises StoreError, OSError."""
        self._inserter.insert_rows(account_id, rows, database)

    def forget_ids(self) -> None:
        """See EventInserter. For other threads: batches wait for it."""
        self._inserter.forget_ids()

    async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> RejectedSpans:
        """Wait until the events of a request are stored. Raises RejectedError."""
        if self._closing:
            raise RejectedError(STOPPING)
        if self.is_loading:
            raise RejectedError(INDEX_LOADING)
        if not self._database.status().can_store:
            raise RejectedError(STORE_FAILED)
        if self._normalized_until_s.get(account_id, 0.0) > time.monotonic():
            found = await asyncio.to_thread(normalized, spans)
            if found is None:
                raise RejectedError(UNREADABLE)
            spans = found
        waiting = _Waiting(account_id, usage_detail, spans)
        if not self._waiting:
            self._waiting_since_s = time.monotonic()
        self._waiting.append(waiting)
        self._arrived.set()
        outcome = await waiting.outcome
        if isinstance(outcome, Rejection):
            raise RejectedError(outcome)
        return outcome

    def check_clock(self, latest_ms: int) -> None:
        """Raises RejectedError for a start time in the future, if the clock of this machine is known to be behind.

        The request may be sent again: it is in the future only until the clock is set. Other requests are stored.
        """
        if self._clock_guard.is_behind() and self._clock_guard.is_in_future(latest_ms):
            raise RejectedError(CLOCK_BEHIND)

    @property
    def is_alive(self) -> bool:
        """Whether the task that writes is running."""
        return not self._task.done()

    async def ended(self) -> None:
        """Wait until the task that writes has ended."""
        await asyncio.wait({self._task})

    async def close(self) -> None:
        """Store all accepted requests, then stop."""
        self._closing = True
        self._arrived.set()
        self._inserter.cancel_load()
        await asyncio.wait({self._task})
        await asyncio.to_thread(self._inserter.close)
        self._threads.shutdown()

    async def _run(self) -> None:
        try:
            await self._open_index()
            async with asyncio.TaskGroup() as tasks:
                for lane in range(self._database.lanes):
                    tasks.create_task(self._write_batches(lane))
        except Exception as error:  # noqa: BLE001  # the process ends; no request may wait for ever
            if isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            _log.error("the writer of events has stopped: %s", type(error).__name__)  # one line
        finally:
            self._closing = True
            for waiting in (*itertools.chain(*self._writing), *self._waiting.take(self._waiting.size)):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(STORE_FAILED)

    async def _open_index(self) -> None:
        loading = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._threads, self._load))
        await asyncio.wait({loading}, timeout=self._load_wait_s)
        self.is_loading = not loading.done()
        if self.is_loading:
            for waiting in self._waiting.take(self._waiting.size):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(INDEX_LOADING)
        await loading
        self.is_loading = False

    async def _write_batches(self, lane: int) -> None:
        """Store batches in a lane, until the writer is closed and no request waits."""
        loop = asyncio.get_running_loop()
        while batch := await self._next_batch():
            self._writing[lane] = batch
            outcomes = await loop.run_in_executor(self._threads, self._write_batch, lane, batch)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)
            self._writing[lane] = []

    async def _next_batch(self) -> list[_Waiting]:
        async with self._collecting:
            if not await self._has_batch():
                return []
            most = _BATCH_BYTES
            if self._waiting.size >= _SHARED_BYTES:
                most = min(most, -(-self._waiting.size // self._writing.count([])))
            return self._waiting.take(most)

    async def _has_batch(self) -> bool:
        while not self._waiting:
            if self._closing:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        while not self._closing and self._waiting.size < _BATCH_BYTES:
            remaining_s = self._waiting_since_s + _LINGER_S - time.monotonic()
            # A second batch at the same time is worth its fixed cost if it is large.
            is_busy = any(self._writing) and self._waiting.size < _CONCURRENT_BYTES
            if remaining_s <= 0 and not is_busy:
                break
            await asyncio.sleep(0.01 if is_busy else min(remaining_s, 0.01))
        return True

    def _load(self) -> None:
        try:
            self._inserter.load()
        except (StoreError, OSError) as error:  # each batch tries again
            _log.warning("the index of stored ids could not be opened: %s", error)

    def _write_batch(self, lane: int, batch: Sequence[_Waiting]) -> list[Outcome]:
        """Write a batch. Only a request that the engine cannot parse is final; every other failure may be retried."""
        try:
            return list(self._inserter.store(lane, [waiting.request for waiting in batch]))
        except StoreError as error:
            if error.code == ENGINE_ABORTED:
                raise  # no later statement can succeed: the process ends
            cause = f"engine code {error.code}"
        except Exception as error:  # noqa: BLE001  # the writer must survive every batch, and every request must complete
            cause = type(error).__name__
        if self._can_parse(lane, batch):
            _log.warning("a batch of %d requests could not be stored: %s", len(batch), cause)
            return [STORE_FAILED] * len(batch)
        unreadable = self._normalize(batch)
        readable = [waiting for waiting in batch if waiting not in unreadable]
        if not unreadable and not self._can_parse(lane, readable):
            unreadable = self._unparsable(lane, readable)
            readable = [waiting for waiting in batch if waiting not in unreadable]
        outcomes = iter(self._write_batch(lane, readable) if readable else ())
        return [UNREADABLE if waiting in unreadable else next(outcomes) for waiting in batch]

    def _normalize(self, batch: Sequence[_Waiting]) -> set[_Waiting]:
        """Encode the requests anew, without unknown fields. Returns those that are no OTLP requests.

        Later requests of the accounts that need it are encoded anew before they join a batch, so that they delay others
        only once.
        """
        unreadable = set()
        for waiting in batch:
            found = normalized(waiting.spans)
            if found is None:
                unreadable.add(waiting)
            if found is None or found.body != waiting.spans.body:
                self._normalized_until_s[waiting.account_id] = time.monotonic() + _NORMALIZED_S
                waiting.spans = found or waiting.spans
        return unreadable

    def _unparsable(self, lane: int, batch: Sequence[_Waiting]) -> set[_Waiting]:
        """The requests that the engine cannot parse."""
        if self._can_parse(lane, batch):
            return set()
        if len(batch) == 1:
            return set(batch)
        middle = len(batch) // 2
        return self._unparsable(lane, batch[:middle]) | self._unparsable(lane, batch[middle:])

    def _can_parse(self, lane: int, batch: Sequence[_Waiting]) -> bool:
        return self._database.can_parse(lane, pieces([waiting.request for waiting in batch]), statement.LAYOUT)
