"""Stores the calls of cleaned spans: deduplicated, priced, and acknowledged when they are stored.

The spans of one call may arrive in several requests. A call is held for one second (`HOLD_S`), as in the processor, and
its request waits for it: acknowledged spans are stored, or are known not to be a billed call. The exception is the
start of a stream whose end is reported by a later span. It is held longer than a request can wait, is acknowledged
first, and is stored at the latest when the server stops.

A call can also have an event of our exporter. The event counts, whether it arrives before the cleaned span or while
that is held. An event that arrives when the call is already stored as the event of a cleaned span is acknowledged and
not stored, since nothing stored is ever changed.
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

from infraprism.backend.accounts import Account
from infraprism.backend.ingest.batch_writer import BatchWriter, RejectedSpans
from infraprism.backend.ingest.event_requests import encode_events
from infraprism.backend.ingest.otlp_requests import EncodedSpans
from infraprism.backend.ingest.recent_events import RecentEvents
from infraprism.backend.ingest.rejections import STOPPING, STORE_FAILED, RejectedError, Rejection
from infraprism.backend.span_conversion.account_calls import AccountCalls, DueCalls
from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan
from infraprism.backend.span_conversion.event_candidates import event_candidates, without
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.backend.store import StoreError
from infraprism.deduplication.deduplicator import HOLD_S
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

MAX_UNSTORED: Final = 50_000
"""Events per account that are kept while the store fails. Beyond it further spans of the account are rejected."""
MAX_ACCOUNTS: Final = 256
"""Accounts with calls in memory. Beyond it idle accounts are removed."""
_EVENTS_PER_REQUEST: Final = 10_000
_SPANS_PER_SLICE: Final = 1_000
_MARGIN_S: Final = 0.01
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits for its calls. The result is None if they are stored."""

    due_s: float
    result: asyncio.Future[Rejection | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class DeduplicatingWriter:
    """Stores the cleaned spans of all accounts. `delivery_stats` counts spans without a billed call as `no_call`."""

    def __init__(self, writer: BatchWriter, recent_calls: RecentCalls) -> None:
        self.delivery_stats: Final = DeliveryStats()
        self._writer = writer
        self._recent_calls = recent_calls
        self._recent_events = RecentEvents()
        self._accounts: dict[str, _AccountWriter] = {}
        # One thread, so that the calls need no locks and one core remains for parsing requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infraprism-dialects")
        self._closing = False

    async def store(self, account: Account, spans: Sequence[CleanedSpan]) -> RejectedSpans:
        """Wait until the calls of these spans are stored. Returns the number of unreadable spans by reason.

        Raises RejectedError.
        """
        if self._closing:
            raise RejectedError(STOPPING)
        writer = self._accounts.get(account.id)
        if writer is None:
            self._remove_idle_accounts()
            writer = _AccountWriter(account.id, self._writer, self._recent_calls, self._thread, self.delivery_stats)
            writer.stored_events = self._recent_events.take(account.id, time.monotonic())
            self._accounts[account.id] = writer
        return await writer.store(spans, usage_detail=account.usage_detail)

    async def admitted(self, account: Account, events: EncodedSpans) -> EncodedSpans:
        """The events without those of calls that are stored as events of cleaned spans. Raises RejectedError."""
        writer = self._accounts.get(account.id)
        return events if writer is None or self._closing else await writer.admitted(events)

    def on_events_stored(self, account: Account, events: EncodedSpans) -> None:
        """Remember events, to recognise cleaned spans of their calls that arrive later."""
        if account.id not in self._accounts:
            self._recent_events.add(account.id, events.body, time.monotonic())

    async def forget_deleted(self, account_id: str) -> int:
        """Forget the recorded calls of an account of which the events were deleted. Returns their number.

        Raises sqlite3.Error, StoreError.
        """
        forget = self._recent_calls.forget_deleted
        return await asyncio.get_running_loop().run_in_executor(self._thread, forget, account_id)

    def forget_expired(self, account_id: str) -> None:
        """The same as `forget_deleted`, from a thread without an event loop. Nothing is done while the server stops."""
        with suppress(RuntimeError):  # the thread has ended
            self._thread.submit(self._recent_calls.forget_deleted, account_id).result()

    async def forget_account(self, account_id: str) -> None:
        """Forget all recorded calls of an account that sends no more. Raises sqlite3.Error."""
        self._accounts.pop(account_id, None)
        forget = self._recent_calls.forget_account
        await asyncio.get_running_loop().run_in_executor(self._thread, forget, account_id)

    def _remove_idle_accounts(self) -> None:
        if len(self._accounts) >= MAX_ACCOUNTS:
            self._accounts = {name: writer for name, writer in self._accounts.items() if not writer.is_idle}

    async def close(self) -> None:
        """Store all calls that are held, then stop."""
        self._closing = True
        await asyncio.gather(*(writer.close() for writer in self._accounts.values()))
        self._thread.shutdown()
        self._recent_calls.close()


class _AccountWriter:
    """The calls of one account, and the requests that wait for them."""

    def __init__(
        self,
        account_id: str,
        writer: BatchWriter,
        recent_calls: RecentCalls,
        thread: ThreadPoolExecutor,
        delivery_stats: DeliveryStats,
    ) -> None:
        self._account_id = account_id
        self._writer = writer
        self._recent_calls = recent_calls
        self._thread = thread
        self._delivery_stats = delivery_stats
        self.stored_events: list[bytes] = []
        self._calls: AccountCalls | None = None
        self._usage_detail = False
        self._adding = 0
        self._waiting: list[_Waiting] = []
        self._unstored: list[Event] = []
        self._next_due_s: float | None = None
        self._changed = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no call is held and no request waits."""
        return self._task is None and not self._unstored and not self._adding

    async def store(self, spans: Sequence[CleanedSpan], *, usage_detail: bool) -> RejectedSpans:
        """See DeduplicatingWriter.store."""
        self._usage_detail = usage_detail
        now_s, unreadable = time.monotonic(), 0
        is_full = len(self._unstored) >= MAX_UNSTORED
        if is_full:
            waiting = _Waiting(now_s)
        else:
            self._adding += 1
            try:
                # In slices, so that the accounts share the thread.
                for start in range(0, len(spans), _SPANS_PER_SLICE):
                    unreadable += await self._on_thread(self._add, spans[start : start + _SPANS_PER_SLICE], now_s)
            except (sqlite3.Error, StoreError):
                raise RejectedError(STORE_FAILED) from None
            finally:
                self._adding -= 1
            waiting = _Waiting(now_s + HOLD_S + _MARGIN_S)
        self._waiting.append(waiting)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        rejection = await waiting.result
        if rejection or is_full:
            raise RejectedError(rejection or STORE_FAILED)
        return {"bad_value": unreadable} if unreadable else {}

    def _add(self, spans: Sequence[CleanedSpan], now_s: float) -> int:
        """Add spans to the calls. Returns the number of unreadable spans."""
        return self._loaded().add(spans, now_s)

    def _loaded(self) -> AccountCalls:
        """The calls. On first use the recent calls and the recent events are loaded."""
        if self._calls is None:
            released = self._recent_calls.load(self._account_id)
            events = self._recent_calls.load_events(self._account_id, time.time_ns() // 1_000_000)
            self._calls = AccountCalls(self._delivery_stats, released, events)
            bodies, self.stored_events = self.stored_events, []
            for body in bodies:
                self._calls.add_events(event_candidates(body), stored=True)
        return self._calls

    async def admitted(self, events: EncodedSpans) -> EncodedSpans:
        """See DeduplicatingWriter.admitted."""
        self._adding += 1
        try:
            return await self._on_thread(self._admit, events)
        except (sqlite3.Error, StoreError):
            raise RejectedError(STORE_FAILED) from None
        finally:
            self._adding -= 1

    def _admit(self, events: EncodedSpans) -> EncodedSpans:
        excluded = self._loaded().add_events(event_candidates(events.body))
        if not excluded:
            return events
        self._delivery_stats.accept(len(excluded))
        self._delivery_stats.end("dropped", "duplicate", len(excluded))
        return EncodedSpans(without(events.body, excluded), events.number - len(excluded), events.ranges)

    async def close(self) -> None:
        """Store all calls that are held."""
        self._closing = True
        self._changed.set()
        if self._task is not None:
            await self._task
        elif self._unstored:
            await self._save([])

    async def _run(self) -> None:
        while self._waiting or self._next_due_s is not None:
            await self._until_due()
            now_s = time.monotonic()
            ready = [waiting for waiting in self._waiting if self._closing or waiting.due_s <= now_s]
            self._waiting = [waiting for waiting in self._waiting if waiting not in ready]
            events = await self._due_events(now_s)
            if events is None:
                ready, self._waiting = [*ready, *self._waiting], []
            rejection = STORE_FAILED if events is None else await self._save(events)
            for waiting in ready:
                if not waiting.result.done():
                    waiting.result.set_result(rejection)
        self._task = None

    async def _due_events(self, now_s: float) -> list[Event] | None:
        """The events of the calls that are due. None after an internal error: all requests have to be retried."""
        try:
            due = await self._on_thread(self._take_due, None if self._closing else now_s)
        except Exception as error:  # noqa: BLE001  # every request must complete, and later requests must be accepted
            _log.warning("the calls of an account could not be deduplicated: %s", type(error).__name__)
            self._calls, self._next_due_s = None, None
            return None
        self._next_due_s = due.next_due_s
        return [call.event for call in due.calls]

    def _take_due(self, now_s: float | None) -> DueCalls:
        """The calls that are due, or without a time all. They are recorded as recent calls before they are stored."""
        if self._calls is None:
            return DueCalls([], None)
        due = self._calls.close() if now_s is None else self._calls.due(now_s)
        try:
            self._recent_calls.add(self._account_id, due.calls)
        except sqlite3.Error:
            # The calls are stored nevertheless: the record is needed only after a crash.
            self._delivery_stats.error("dialects.recent_calls")
        return due

    async def _until_due(self) -> None:
        while not self._closing:
            held = [] if self._next_due_s is None else [self._next_due_s]
            remaining_s = min([*held, *(waiting.due_s for waiting in self._waiting)]) - time.monotonic()
            if remaining_s <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(remaining_s):
                    await self._changed.wait()

    async def _save(self, events: Sequence[Event]) -> Rejection | None:
        """Store events and those of earlier failures. Returns why some could not be stored; they are kept."""
        events, self._unstored = [*self._unstored, *events], []
        rejection = None
        for start in range(0, len(events), _EVENTS_PER_REQUEST):
            part = events[start : start + _EVENTS_PER_REQUEST]
            try:
                spans = await self._on_thread(encode_events, part, self._usage_detail)
                rejected = await self._writer.store(self._account_id, spans, usage_detail=self._usage_detail)
            except RejectedError as error:
                rejection = error.rejection
                self._unstored += part
                continue
            except Exception as error:  # noqa: BLE001  # as above
                _log.warning("the events of an account could not be encoded: %s", type(error).__name__)
                rejection = STORE_FAILED
                self._unstored += part
                continue
            for reason, number in rejected.items():
                self._delivery_stats.end("rejected", reason, number)
        if events and rejection is None:
            await self._on_thread(self._recent_calls.mark_stored, self._account_id)
        return rejection

    async def _on_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
