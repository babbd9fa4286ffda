"""Stores the records of the log. A record that the store rejects is kept aside and never dropped."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from infraprism.backend.ingest.clock_guard import now_ms
from infraprism.backend.ingest.otlp_requests import EncodedSpans, parse_protobuf
from infraprism.backend.ingest.rejections import TOO_LARGE, UNREADABLE, RejectedError
from infraprism.backend.ingest.write_ahead_log.records import Record
from infraprism.backend.ingest.write_ahead_log.unapplied import Group
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS
from infraprism.schema.otlp_encoder import request_bytes

_FINAL: Final = (UNREADABLE, TOO_LARGE)
_UNREADABLE: Final = "unreadable"

_log = logging.getLogger(__name__)


class Writer(Protocol):
    """The part of BatchWriter that is needed here."""

    async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> Mapping[str, int]:
        """Wait until the events are stored. Returns the rejected ones by reason. Raises RejectedError."""


KeepAside = Callable[[str, bytes], Awaitable[None]]
"""Writes a request to a file with this name. Raises OSError."""


class Applier:
    """Stores groups of records. `rejected` counts the events that were kept aside, by reason.

    `expired` counts the events that expired before they were stored. They are not kept.
    """

    def __init__(self, writer: Writer, keep_aside: KeepAside, clock_ms: Callable[[], int] = now_ms) -> None:
        self.rejected: Counter[str] = Counter()
        self.expired = 0
        self._writer = writer
        self._keep_aside = keep_aside
        self._clock_ms = clock_ms
        self._files = itertools.count(1)

    async def stored(self, groups: Sequence[Group], *, at_once: bool) -> list[Group]:
        """Store groups, `at_once` or one after the other.

        Returns those of which nothing is left to do; the others have to be tried again.
        """
        if at_once:
            are_stored = await asyncio.gather(*map(self._is_stored, groups))
        else:
            are_stored = [await self._is_stored(group) for group in groups]
        return [group for group, is_stored in zip(groups, are_stored, strict=True) if is_stored]

    async def _is_stored(self, group: Group) -> bool:
        try:
            return await self._store(group)
        except OSError as error:
            _log.warning("a rejected event cannot be kept aside (%s): it is tried again", error.strerror)
            return False

    async def _store(self, group: Group) -> bool:
        body = request_bytes([record.spans for record in group.records])
        try:
            parsed = await asyncio.to_thread(parse_protobuf, body)
            if parsed.latest_ms > self._clock_ms() + MAX_CLOCK_SKEW_MS:
                # It was not in the future when it was acknowledged: the clock went back.
                _log.warning("acknowledged events are in the future: set the clock of the server")
                return False
            rejected = await self._writer.store(group.account_id, parsed.events, usage_detail=group.usage_detail)
        except RejectedError as error:
            if error.rejection not in _FINAL:
                return False
            rejected = {_UNREADABLE: sum(record.number for record in group.records)}
        if set(rejected) <= {"expired", "deleted"}:
            self.expired += rejected.get("expired", 0)
            return True
        if len(group.records) == 1:
            await self._reject(group.account_id, group.records[0], body, rejected)
            return True
        # Storing an event again changes nothing, so the rejected ones are found by halving.
        middle = len(group.records) // 2
        halves = [group._replace(records=part) for part in (group.records[:middle], group.records[middle:])]
        return all([await self._store(half) for half in halves])

    async def _reject(self, account_id: str, record: Record, body: bytes, rejected: Mapping[str, int]) -> None:
        name = f"{account_id}-{self._clock_ms()}-{next(self._files)}"
        await self._keep_aside(name, body)
        self.rejected.update(rejected)
        _log.error("%d acknowledged events were rejected as %s: see %s", record.number, ", ".join(rejected), name)
