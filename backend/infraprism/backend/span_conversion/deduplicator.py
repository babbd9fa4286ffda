"""Cleaned spans in, stored events out: a request is answered when its calls are told apart, priced and stored.

A call's spans may come in several requests, so each is held for as long as the processor holds a call, a second, and
its request with it: what is acknowledged is stored, or known to be no call of its own. The one exception is the
beginning of a stream, which waits for the span that tells how it ended, and so longer than a request can; it alone is
acknowledged before, and stored at the latest when the server stops in an orderly way.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.backend.accounts import Account
from infraprism.backend.ingest.batch_writer import Batches, Rejected
from infraprism.backend.ingest.rejections import STOPPING, STORE_FAILED, Reason, RefusedError
from infraprism.backend.span_conversion.account_calls import Calls, Due
from infraprism.backend.span_conversion.event_requests import encoded
from infraprism.backend.span_conversion.recent_calls import Memory
from infraprism.backend.store import StoreError
from infraprism.deduplication.deduplicator import HOLD_S
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

MAX_UNSTORED: Final = 50_000
"""Events of an account that wait for a store that fails; beyond it nothing more is taken in for it."""
MAX_ACCOUNTS: Final = 256
"""Accounts whose calls are remembered; beyond it those that are idle are forgotten."""
_EVENTS_AT_ONCE: Final = 10_000
_SLACK_S: Final = 0.01
_Made = TypeVar("_Made")

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    due_s: float
    answer: asyncio.Future[Reason | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Settled:
    """Takes the cleaned spans of all accounts. `tally` counts those that were no billed call as dropped, `no_call`."""

    def __init__(self, batches: Batches, memory: Memory) -> None:
        self.delivery_stats: Final = DeliveryStats()
        self._batches = batches
        self._memory = memory
        self._accounts: dict[str, _AccountCalls] = {}
        # One thread: what it works on needs no locks, and it leaves the other core to the requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infraprism-dialects")
        self._closing = False

    async def store(self, account: Account, spans: Sequence[ReadableSpan]) -> Rejected:
        """Wait until the calls of these spans are stored; how many could not be read. Raises RefusedError."""
        if self._closing:
            raise RefusedError(STOPPING)
        calls = self._accounts.get(account.id)
        if calls is None:
            self._forget_idle()
            calls = _AccountCalls(account.id, self._batches, self._memory, self._thread, self.delivery_stats)
            self._accounts[account.id] = calls
        return await calls.store(spans, usage_detail=account.usage_detail)

    def _forget_idle(self) -> None:
        if len(self._accounts) >= MAX_ACCOUNTS:
            self._accounts = {name: calls for name, calls in self._accounts.items() if not calls.is_idle}

    async def close(self) -> None:
        """Store what is held, then stop."""
        self._closing = True
        await asyncio.gather(*(calls.close() for calls in self._accounts.values()))
        self._thread.shutdown()
        self._memory.close()


class _AccountCalls:
    """One account's calls, and the requests that wait for them."""

    def __init__(
        self,
        account_id: str,
        batches: Batches,
        memory: Memory,
        thread: ThreadPoolExecutor,
        delivery_stats: DeliveryStats,
    ) -> None:
        self._account_id = account_id
        self._batches = batches
        self._memory = memory
        self._thread = thread
        self._delivery_stats = delivery_stats
        self._calls: Calls | None = None
        self._usage_detail = False
        self._taking = 0
        self._waiting: list[_Waiting] = []
        self._unstored: list[Event] = []
        self._next_s: float | None = None
        self._changed = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nobody waits."""
        return self._task is None and not self._unstored and not self._taking

    async def store(self, spans: Sequence[ReadableSpan], *, usage_detail: bool) -> Rejected:
        """Wait until the calls of these spans are stored; how many could not be read. Raises RefusedError."""
        self._usage_detail = usage_detail
        now_s, unreadable = time.monotonic(), 0
        is_full = len(self._unstored) >= MAX_UNSTORED
        if is_full:
            waiting = _Waiting(now_s)
        else:
            self._taking += 1
            try:
                unreadable = await self._on_thread(self._take, spans, now_s)
            except (sqlite3.Error, StoreError):
                raise RefusedError(STORE_FAILED) from None
            finally:
                self._taking -= 1
            waiting = _Waiting(now_s + HOLD_S + _SLACK_S)
        self._waiting.append(waiting)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        failed = await waiting.answer
        if failed or is_full:
            raise RefusedError(failed or STORE_FAILED)
        return {"bad_value": unreadable} if unreadable else {}

    def _take(self, spans: Sequence[ReadableSpan], now_s: float) -> int:
        """Take spans in, knowing what was settled before; how many could not be read."""
        if self._calls is None:
            self._calls = Calls(self._delivery_stats, self._memory.recall(self._account_id))
        return self._calls.take(spans, now_s)

    async def close(self) -> None:
        """Store what is held."""
        self._closing = True
        self._changed.set()
        if self._task is not None:
            await self._task
        elif self._unstored:
            await self._save([])

    async def _run(self) -> None:
        while self._waiting or self._next_s is not None:
            await self._until_due()
            now_s = time.monotonic()
            ready = [waiting for waiting in self._waiting if self._closing or waiting.due_s <= now_s]
            self._waiting = [waiting for waiting in self._waiting if waiting not in ready]
            events = await self._due(now_s)
            if events is None:
                ready, self._waiting = [*ready, *self._waiting], []
            failed = STORE_FAILED if events is None else await self._save(events)
            for waiting in ready:
                if not waiting.answer.done():
                    waiting.answer.set_result(failed)
        self._task = None

    async def _due(self, now_s: float) -> list[Event] | None:
        """The events that are due; None after a fault of ours, when all is forgotten and must be sent again."""
        try:
            due = await self._on_thread(self._settle, None if self._closing else now_s)
        except Exception as error:  # noqa: BLE001  # every request must be answered, and the next ones taken in
            _log.warning("calls of an account could not be told apart: %s", type(error).__name__)
            self._calls, self._next_s = None, None
            return None
        self._next_s = due.next_s
        return [call.event for call in due.calls]

    def _settle(self, now_s: float | None) -> Due:
        """The calls that are due, without a time all; they are noted before they are stored."""
        if self._calls is None:
            return Due([], None)
        due = self._calls.close() if now_s is None else self._calls.due(now_s)
        try:
            self._memory.note(self._account_id, due.calls)
        except sqlite3.Error:
            # The calls are stored all the same: what is missing is only missed after a crash.
            self._delivery_stats.error("dialects.memory")
        return due

    async def _until_due(self) -> None:
        while not self._closing:
            held = [] if self._next_s is None else [self._next_s]
            left_s = min([*held, *(waiting.due_s for waiting in self._waiting)]) - time.monotonic()
            if left_s <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    async def _save(self, events: Sequence[Event]) -> Reason | None:
        """Store events, and those that could not be stored before; why some cannot be, if so: they are kept."""
        events, self._unstored = [*self._unstored, *events], []
        failed = None
        for start in range(0, len(events), _EVENTS_AT_ONCE):
            some = events[start : start + _EVENTS_AT_ONCE]
            try:
                spans = await self._on_thread(encoded, some, self._usage_detail)
                rejected = await self._batches.store(self._account_id, spans, usage_detail=self._usage_detail)
            except RefusedError as refused:
                failed = refused.reason
                self._unstored += some
                continue
            except Exception as error:  # noqa: BLE001  # as above
                _log.warning("events of an account could not be encoded: %s", type(error).__name__)
                failed = STORE_FAILED
                self._unstored += some
                continue
            for reason, number in rejected.items():
                self._delivery_stats.end("rejected", reason, number)
        if events and failed is None:
            await self._on_thread(self._memory.stored, self._account_id)
        return failed

    async def _on_thread(self, work: Callable[..., _Made], *given: object) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)
