"""The road that every request takes, whatever protocol it came by: key, size, reading, storing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Literal

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.accounts.accounts import bearer
from infraprism.backend.ingest.batch_writer import Batches, Rejected
from infraprism.backend.ingest.otlp_requests import Read, inflated, read_json, read_protobuf
from infraprism.backend.ingest.rejections import BUSY, TOO_LARGE, UNAUTHENTICATED, RefusedError
from infraprism.backend.span_conversion.deduplicator import Settled
from infraprism.backend.span_conversion.recent_calls import Memory

Encoding = Literal["protobuf", "json"]

MAX_BODY_BYTES: Final = 16 * 2**20
"""Of one request, as sent and inflated."""


class Intake:
    """Takes requests in. What waits in memory is bounded: beyond it new requests are refused until some is stored."""

    def __init__(self, accounts: Accounts, batches: Batches, memory: Memory, max_waiting_bytes: int) -> None:
        self._accounts = accounts
        self._batches = batches
        self._settled = Settled(batches, memory)
        self._left = max_waiting_bytes
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="infraprism-reader")

    def account(self, authorization: str | None) -> Account:
        """Whose request this is. Raises RefusedError."""
        account = self._accounts.of_key(bearer(authorization))
        if account is None:
            raise RefusedError(UNAUTHENTICATED)
        return account

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Room in memory for one request."""
        reserved = Reservation(self)
        try:
            yield reserved
        finally:
            self._left += reserved.size

    def reserve(self, size: int) -> None:
        """Take room. Raises RefusedError where there is none."""
        if size > self._left:
            raise RefusedError(BUSY)
        self._left -= size

    async def take(
        self, account: Account, body: bytes, room: Reservation, *, encoding: Encoding, compressed: bool
    ) -> Rejected:
        """Store a request's events; how many spans were refused, by reason. Raises RefusedError."""
        loop = asyncio.get_running_loop()
        if compressed:
            body = await loop.run_in_executor(self._readers, inflated, body, MAX_BODY_BYTES)
            room.add(len(body))
        reader = read_json if encoding == "json" else read_protobuf
        read: Read = await loop.run_in_executor(self._readers, reader, body)
        rejected = Counter(read.faults)
        if read.events.number:
            rejected.update(await self._batches.store(account.id, read.events, usage_detail=account.usage_detail))
        if read.others:
            rejected.update(await self._settled.store(account, read.others))
        return rejected

    async def close(self) -> None:
        """Store what is held, and stop the threads."""
        await self._settled.close()
        self._readers.shutdown()


class Reservation:
    """Room that one request holds until it is answered."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.size = 0

    def add(self, size: int) -> None:
        """Hold more. Raises RefusedError where there is none, or where one request would hold too much."""
        if size > MAX_BODY_BYTES:
            raise RefusedError(TOO_LARGE)
        self._intake.reserve(size)
        self.size += size
