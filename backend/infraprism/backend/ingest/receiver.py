"""The OTLP receiver, independent of the protocol: authentication, size limits, parsing, storing."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Literal

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.accounts.accounts import bearer_token
from infraprism.backend.ingest import checked_events
from infraprism.backend.ingest.batch_writer import BatchWriter, RejectedSpans
from infraprism.backend.ingest.checked_events import CheckedEvents
from infraprism.backend.ingest.clock_guard import now_ms
from infraprism.backend.ingest.deduplicating_writer import DeduplicatingWriter
from infraprism.backend.ingest.event_inserter import Cutoff
from infraprism.backend.ingest.otlp_requests import EncodedSpans, ParsedRequest, inflate, parse_json, parse_protobuf
from infraprism.backend.ingest.rejections import (
    BUSY,
    NO_SCOPE,
    STORE_FAILED,
    TOO_LARGE,
    UNAUTHENTICATED,
    RejectedError,
    wrong_region,
)
from infraprism.backend.ingest.write_ahead_log.log import WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.records import Record
from infraprism.backend.regions import NO_REGIONS, Regions
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS, MAX_CLOCK_SKEW_MS

Encoding = Literal["protobuf", "json"]

MAX_BODY_BYTES: Final = 16 * 2**20
"""Of one request, compressed and decompressed."""
_PARSERS: Final = 3
"""Threads that parse requests. One account uses at most two of them."""


class Receiver:
    """Receives OTLP requests. `max_waiting_bytes` limits the memory of requests that are not stored yet.

    One account gets at most half of what the others leave. Beyond it requests are rejected with a retryable error.
    Events before the `cutoff_ms` of their account are rejected, and all requests of accounts of other `regions`.
    Before `deleted_before_ms` an account has deletions.
    """

    def __init__(
        self,
        accounts: Accounts,
        writer: BatchWriter,
        recent_calls: RecentCalls,
        max_waiting_bytes: int,
        log: WriteAheadLog | None = None,
        *,
        cutoff_ms: Cutoff = lambda _: None,
        regions: Regions = NO_REGIONS,
        deleted_before_ms: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._regions = regions
        self._deleted_before_ms = deleted_before_ms
        self._cutoff_ms = cutoff_ms
        self._accounts = accounts
        self._writer = writer
        self._log = log
        self._deduplicating_writer = DeduplicatingWriter(writer, recent_calls)
        self._available_bytes = max_waiting_bytes
        self._reserved_bytes: Counter[str] = Counter()
        self._parsers = ThreadPoolExecutor(_PARSERS, thread_name_prefix="infraprism-parser")
        self._parsing: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_PARSERS - 1))

    def authenticate(self, authorization: str | None) -> Account:
        """The account of an Authorization header. Raises RejectedError."""
        try:
            key = self._accounts.find_key(bearer_token(authorization))
        except DatabaseUnavailableError:
            raise RejectedError(STORE_FAILED) from None
        if key is None:
            raise RejectedError(UNAUTHENTICATED)
        if "ingest" not in key.scopes:
            raise RejectedError(NO_SCOPE)
        if (elsewhere := self._regions.elsewhere(key.account.region)) is not None:
            raise RejectedError(wrong_region(elsewhere))
        return key.account

    @contextmanager
    def reservation(self, account: Account) -> Iterator[Reservation]:
        """Memory for one request, released at the end of the block."""
        reserved = Reservation(self, account.id)
        try:
            yield reserved
        finally:
            self._available_bytes += reserved.size
            self._reserved_bytes[account.id] -= reserved.size
            if not self._reserved_bytes[account.id]:
                del self._reserved_bytes[account.id]

    def reserve(self, account_id: str, size: int) -> None:
        """Reserve memory for an account: at most half of what other accounts leave. Raises RejectedError."""
        reserved = self._reserved_bytes[account_id]
        if reserved + size > (self._available_bytes + reserved) // 2:
            raise RejectedError(BUSY)
        self._available_bytes -= size
        self._reserved_bytes[account_id] += size

    async def receive(
        self, account: Account, body: bytes, reservation: Reservation, *, encoding: Encoding, compressed: bool
    ) -> RejectedSpans:
        """Store the events of a request. Returns the number of rejected spans by reason. Raises RejectedError."""
        if encoding == "protobuf" and len(body) <= checked_events.MAX_BYTES:
            # On this thread: for a small request a switch of threads takes longer.
            plain = checked_events.inflated(body) if compressed else body
            small = None if plain is None else self._checked(account, plain)
            if small is not None:
                return await self._store_small(account, small)
        async with self._parsing[account.id]:
            request = await self._parse(body, reservation, encoding=encoding, compressed=compressed)
        self._writer.check_clock(request.latest_ms)
        rejected = Counter(request.rejected)
        if request.events.number:
            rejected.update(await self._store_events(account, request.events))
        cleaned, expired = self._retained(account, request.cleaned)
        if expired:
            rejected["expired"] += expired
        if cleaned:
            if self._log is not None and not self._log.is_replayed(account.id):
                raise RejectedError(STORE_FAILED)  # the events of these calls are not in the store yet
            rejected.update(await self._deduplicating_writer.store(account, cleaned))
        return rejected

    async def _parse(
        self, body: bytes, reservation: Reservation, *, encoding: Encoding, compressed: bool
    ) -> ParsedRequest:
        loop = asyncio.get_running_loop()
        if compressed:
            body = await loop.run_in_executor(self._parsers, inflate, body, MAX_BODY_BYTES)
            reservation.add(len(body))
        parse = parse_json if encoding == "json" else parse_protobuf
        return await loop.run_in_executor(self._parsers, parse, body)

    def _checked(self, account: Account, body: bytes) -> CheckedEvents | None:
        if self._log is None:
            return None
        # The store checks the scopes of deletions, and whether an event is expired.
        earliest_ms = max(EARLIEST_TIMESTAMP_MS, self._earliest_ms(account), self._deleted_before_ms(account.id))
        latest_ms = now_ms() + MAX_CLOCK_SKEW_MS
        return checked_events.checked_events(
            body, latest_ms, usage_detail=account.usage_detail, earliest_ms=earliest_ms
        )

    def _earliest_ms(self, account: Account) -> int:
        """The start time before which events are expired; 0 without one. Raises RejectedError."""
        try:
            return self._cutoff_ms(account.id) or 0
        except DatabaseUnavailableError:
            raise RejectedError(STORE_FAILED) from None

    def _retained(self, account: Account, spans: Sequence[CleanedSpan]) -> tuple[Sequence[CleanedSpan], int]:
        """The spans that are not expired, and the number of the others. Raises RejectedError."""
        earliest_ns = self._earliest_ms(account) * 1_000_000 if spans else 0
        if not earliest_ns:
            return spans, 0
        retained = [span for span in spans if span.start_time >= earliest_ns]
        return retained, len(spans) - len(retained)

    async def _store_small(self, account: Account, events: CheckedEvents) -> RejectedSpans:
        """Write valid events to the log, or store them if the log cannot have them."""
        assert self._log is not None
        self._writer.check_clock(max(events.starts_ms))
        request = events.as_request
        admitted = await self._deduplicating_writer.admitted(account, request)
        if admitted is request:
            record = Record(account.id, account.usage_detail, request.number, events.spans)
            if await self._log.append(record):
                self._deduplicating_writer.on_events_stored(account, request)
                return {}
        return await self._store_admitted(account, admitted)

    async def _store_events(self, account: Account, events: EncodedSpans) -> RejectedSpans:
        return await self._store_admitted(account, await self._deduplicating_writer.admitted(account, events))

    async def _store_admitted(self, account: Account, admitted: EncodedSpans) -> RejectedSpans:
        if not admitted.number:
            return {}
        rejected = await self._writer.store(account.id, admitted, usage_detail=account.usage_detail)
        if not rejected:
            self._deduplicating_writer.on_events_stored(account, admitted)
        return rejected

    async def forget_deleted(self, account_id: str) -> int:
        """Forget the recent calls of which the events were deleted. Returns their number."""
        return await self._deduplicating_writer.forget_deleted(account_id)

    def forget_expired(self, account_id: str) -> None:
        """Forget the recent calls of which the events were deleted. Called from a thread without an event loop."""
        self._deduplicating_writer.forget_expired(account_id)

    async def forget_account(self, account_id: str) -> None:
        """Forget all recorded calls of an account."""
        await self._deduplicating_writer.forget_account(account_id)

    async def close(self) -> None:
        """Store the calls that are held, and stop the threads."""
        await self._deduplicating_writer.close()
        self._parsers.shutdown()


class Reservation:
    """The memory that one request holds until its response is sent."""

    def __init__(self, receiver: Receiver, account_id: str) -> None:
        self._receiver = receiver
        self._account_id = account_id
        self.size = 0

    def add(self, size: int) -> None:
        """Reserve more. Raises RejectedError if not enough is available, or if the request is too large."""
        if size > MAX_BODY_BYTES:
            raise RejectedError(TOO_LARGE)
        self._receiver.reserve(self._account_id, size)
        self.size += size
