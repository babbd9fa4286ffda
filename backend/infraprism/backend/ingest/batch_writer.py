"""Writes the events of many requests with one SQL statement. A request completes when that statement has returned."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from infraprism.backend.ingest import duplicate_window, statement
from infraprism.backend.ingest.clock_guard import ClockGuard, now_ms
from infraprism.backend.ingest.entry import framed
from infraprism.backend.ingest.fair_queue import FairQueue
from infraprism.backend.ingest.otlp_requests import EncodedSpans, TimeRanges, normalized
from infraprism.backend.ingest.rejections import (
    CLOCK_BEHIND,
    STOPPING,
    STORE_FAILED,
    UNREADABLE,
    RejectedError,
    Rejection,
)
from infraprism.backend.store import Database, StoreError
from infraprism.backend.store.database import ENGINE_ABORTED
from infraprism.backend.store.schema import REJECTED
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS

_LINGER_S: Final = 0.1
"""How long a request waits for others, which share the fixed cost of a statement."""
_BATCH_BYTES: Final = 48 * 2**20
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


class BatchWriter:
    """The only writer of the store.

    Statements run one at a time: of two concurrent statements with the same event, neither would see it in the table.
    `before_insert` is called on the thread of the statement before it, with the accounts and the time ranges of all of
    its events.
    """

    def __init__(
        self,
        database: Database,
        clock_ms: Callable[[], int] = now_ms,
        before_insert: Callable[[Sequence[tuple[str, TimeRanges]]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._before_insert = before_insert
        self._clock_guard = ClockGuard(database, clock_ms)
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._waiting_since_s = 0.0
        self._arrived = asyncio.Event()
        self._writing: list[_Waiting] = []
        self._closing = False
        self._requests = itertools.count(1)
        self._normalized_until_s: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infraprism-writer")
        self._task = asyncio.create_task(self._run())

    async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> RejectedSpans:
        """Wait until the events of a request are stored. Raises RejectedError."""
        if self._closing:
            raise RejectedError(STOPPING)
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
        await asyncio.wait({self._task})
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            await self._write_batches()
        except Exception as error:  # noqa: BLE001  # the process ends; no request may wait for ever
            _log.error("the writer of events has stopped: %s", type(error).__name__)  # one line
        finally:
            self._closing = True
            for waiting in (*self._writing, *self._waiting.take(self._waiting.size)):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(STORE_FAILED)

    async def _write_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while await self._has_batch():
            batch = self._writing = self._waiting.take(_BATCH_BYTES)
            self._waiting_since_s = time.monotonic()
            outcomes = await loop.run_in_executor(self._thread, self._write_batch, batch)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)

    async def _has_batch(self) -> bool:
        while not self._waiting:
            if self._closing:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        while not self._closing and (remaining_s := self._waiting_since_s + _LINGER_S - time.monotonic()) > 0:
            if self._waiting.size >= _BATCH_BYTES:
                break
            await asyncio.sleep(min(remaining_s, 0.01))
        return True

    def _write_batch(self, batch: Sequence[_Waiting]) -> list[Outcome]:
        """Write a batch. Only a request that the engine cannot parse is final; every other failure may be retried."""
        try:
            return list(self._write(batch))
        except StoreError as error:
            if error.code == ENGINE_ABORTED:
                raise  # no later statement can succeed: the process ends
            cause = f"engine code {error.code}"
        except Exception as error:  # noqa: BLE001  # the writer must survive every batch, and every request must complete
            cause = type(error).__name__
        if self._can_parse(batch):
            _log.warning("a batch of %d requests could not be stored: %s", len(batch), cause)
            return [STORE_FAILED] * len(batch)
        unreadable = self._normalize(batch)
        readable = [waiting for waiting in batch if waiting not in unreadable]
        if not unreadable and not self._can_parse(readable):
            unreadable = self._unparsable(readable)
            readable = [waiting for waiting in batch if waiting not in unreadable]
        outcomes = iter(self._write_batch(readable) if readable else ())
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

    def _unparsable(self, batch: Sequence[_Waiting]) -> set[_Waiting]:
        """The requests that the engine cannot parse."""
        if self._can_parse(batch):
            return set()
        if len(batch) == 1:
            return set(batch)
        middle = len(batch) // 2
        return self._unparsable(batch[:middle]) | self._unparsable(batch[middle:])

    def _can_parse(self, batch: Sequence[_Waiting]) -> bool:
        return self._database.can_parse(_pieces(batch, range(len(batch))), statement.LAYOUT)

    def _write(self, batch: Sequence[_Waiting]) -> list[RejectedSpans]:
        requests = list(itertools.islice(self._requests, len(batch)))
        latest_ms = now_ms() + MAX_CLOCK_SKEW_MS
        sql = statement.insert(
            duplicate_window.condition((waiting.account_id, waiting.spans.ranges) for waiting in batch),
            latest_ms=latest_ms,
            usage_detail=any(waiting.usage_detail for waiting in batch),
            requests=len(batch),
        )
        self._before_insert([(waiting.account_id, waiting.spans.ranges) for waiting in batch])
        self._database.insert(sql, _pieces(batch, requests), statement.LAYOUT)
        return self._rejected(requests)

    def _rejected(self, requests: Sequence[int]) -> list[RejectedSpans]:
        rows = self._database.read_as_writer(
            f"SELECT request, reason, spans FROM {REJECTED} WHERE request BETWEEN {{first:UInt64}} AND {{last:UInt64}}",
            {"first": requests[0], "last": requests[-1]},
        )
        found: dict[int, dict[str, int]] = defaultdict(dict)
        for row in map(json.loads, rows):
            counts = found[row["request"]]
            counts[row["reason"]] = counts.get(row["reason"], 0) + row["spans"]
        return [found.get(request, {}) for request in requests]


def _pieces(batch: Sequence[_Waiting], requests: Sequence[int]) -> list[bytes]:
    return [
        piece
        for request, waiting in zip(requests, batch, strict=True)
        for piece in framed(waiting.account_id, request, waiting.spans.body, usage_detail=waiting.usage_detail)
    ]
