"""Stores the events of a batch, each once: checks it in a lane, finds what is stored already, and inserts the rest."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from infraprism.backend.ingest import statement
from infraprism.backend.ingest.clock_guard import now_ms
from infraprism.backend.ingest.entry import framed
from infraprism.backend.ingest.otlp_requests import EncodedSpans, TimeRanges
from infraprism.backend.ingest.stored_ids import DamagedRunError, StoredIds
from infraprism.backend.store import Database
from infraprism.backend.store.database import Staged
from infraprism.backend.store.identities import Hashes, Identities
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS

BeforeInsert = Callable[[Sequence[tuple[str, TimeRanges]]], None]
"""Called with the account ids and time ranges of the requests of a batch, before its events can be read."""
Cutoff = Callable[[str], int | None]
"""The midnight UTC before which the events of an account are expired, in milliseconds since 1970; None without one."""


class BatchRequest(NamedTuple):
    """One request of a batch."""

    account_id: str
    usage_detail: bool
    spans: EncodedSpans


def pieces(batch: Sequence[BatchRequest]) -> list[bytes]:
    """The requests as the engine reads them, numbered by their place."""
    return [
        piece
        for place, one in enumerate(batch)
        for piece in framed(one.account_id, place, one.spans.body, usage_detail=one.usage_detail)
    ]


class Refusing(Protocol):
    """Which events are refused because their scope was deleted."""

    def conditions(self, requests: Sequence[tuple[str, TimeRanges]]) -> Sequence[str]:
        """The conditions of spans to refuse, of the account ids and time ranges of the requests of a batch."""

    def count(self, number: int) -> None:
        """Count events that were refused."""


class Index(Protocol):
    """The part of StoredIds that is needed here."""

    @property
    def is_loaded(self) -> bool:
        """Whether the index can be used."""

    def load(self) -> None:
        """See StoredIds."""

    def cancel_load(self) -> None:
        """See StoredIds."""

    def matching(self, hashes: Hashes) -> Identities:
        """See StoredIds."""

    def add(self, identities: Identities) -> None:
        """See StoredIds."""

    def on_inserted(self) -> None:
        """See StoredIds."""

    def discard(self) -> None:
        """See StoredIds."""

    def close(self) -> None:
        """See StoredIds."""


class RowInserter(Protocol):
    """Inserts rows of a file."""

    def identities_in(self, account_id: str, rows: Path) -> Identities:
        """See RowInsertion."""

    def insert_rows(self, account_id: str, rows: Path, first_ms: int, last_ms: int) -> None:
        """See RowInsertion."""


class EventInserter:
    """Stores batches. Several threads may store at the same time, each in its own lane.

    Batches are checked at the same time, which is most of the work. One at a time is compared with what is stored and
    inserted: of two concurrent inserts with the same event, neither would see it in the table. `ids` is the index of
    stored ids; by default one of the ids in the table, in the database's directory for derived files. Events that start
    before the `cutoff_ms` of their account, and those that `refusals` select, are rejected.
    """

    def __init__(
        self,
        database: Database,
        before_insert: BeforeInsert,
        ids: Index | None = None,
        cutoff_ms: Cutoff = lambda _: None,
        *,
        refusals: Refusing | None = None,
    ) -> None:
        self._database = database
        self._refusals = refusals or _NoRefusals()
        self._storing = Barrier()
        self._cutoff_ms = cutoff_ms
        self._before_insert = before_insert
        self._ids = ids or _index_of(database)
        self._inserting = threading.Lock()

    def load(self) -> None:
        """Open the index of stored ids, if it is not open. Raises StoreError, OSError."""
        with self._inserting:
            self._load()

    def store(self, lane: int, batch: Sequence[BatchRequest]) -> list[dict[str, int]]:
        """Store a batch. Returns the rejected spans of each request by reason. Raises StoreError, OSError.

        If it fails, some of the events may be stored. They count once when the batch is sent again.
        """
        with self._storing.passing():
            return self._store(lane, batch)

    def wait_for_batches(self) -> None:
        """Wait until the batches that are being stored now are stored, or have failed."""
        self._storing.wait()

    def _store(self, lane: int, batch: Sequence[BatchRequest]) -> list[dict[str, int]]:
        usage_detail = any(one.usage_detail for one in batch)
        earliest_ms = self._earliest_ms(batch)
        sql = statement.stage(
            latest_ms=now_ms() + MAX_CLOCK_SKEW_MS,
            usage_detail=usage_detail,
            requests=len(batch),
            earliest_ms=earliest_ms,
            deleted=self._refusals.conditions([(one.account_id, one.spans.ranges) for one in batch]),
        )
        spans = sum(one.spans.number for one in batch)
        staged = self._database.stage(lane, sql, pieces(batch), statement.LAYOUT, spans)
        if staged.identities.number:
            ordered = staged.identities.ordered()
            has_doubles = bool((ordered.hashes[1:] == ordered.hashes[:-1]).any())
            with self._inserting:
                self._load()
                recorded = self._recorded(ordered)
                # Before the insert: if that fails halfway, the events are looked up when they are sent again.
                self._ids.add(ordered)
                self._before_insert([(one.account_id, _from(earliest_ms, one)) for one in batch])
                columns = statement.columns(usage_detail=usage_detail)
                self._database.insert_staged(lane, columns, recorded, has_doubles=has_doubles)
                self._ids.on_inserted()
        self._refusals.count(sum(spans for _, reason, spans in staged.rejected if reason == "deleted"))
        return _rejected(staged, len(batch))

    def insert_rows(self, account_id: str, rows: Path, database: RowInserter) -> None:
        """Store the rows of an account in a file, except those that the table has. Raises StoreError, OSError."""
        ordered = database.identities_in(account_id, rows).ordered()
        if not ordered.number:
            return
        bounds = int(ordered.starts_ms.min()), int(ordered.starts_ms.max())
        with self._storing.passing(), self._inserting:
            self._load()
            self._ids.add(ordered)
            self._before_insert([(account_id, {0: bounds})])
            database.insert_rows(account_id, rows, *bounds)
            self._ids.on_inserted()

    def forget_ids(self) -> None:
        """Build the index again from the table, so that it has no deleted ids. Raises StoreError, OSError."""
        with self._inserting:
            if self._ids.is_loaded:
                self._ids.discard()
            self._load()

    def cancel_load(self) -> None:
        """Do not wait until the index is built again. Batches that need it fail."""
        self._ids.cancel_load()

    def close(self) -> None:
        """Close the index."""
        with self._inserting:
            self._ids.close()

    def _earliest_ms(self, batch: Sequence[BatchRequest]) -> dict[str, int]:
        """The earliest start time of the accounts that have sent an earlier one."""
        cutoffs = {account_id: self._cutoff_ms(account_id) for account_id in {one.account_id for one in batch}}
        return {
            one.account_id: cutoff_ms
            for one in batch
            if (cutoff_ms := cutoffs[one.account_id]) is not None
            and any(first_ms < cutoff_ms for first_ms, _ in one.spans.ranges.values())
        }

    def _load(self) -> None:
        if not self._ids.is_loaded:
            self._ids.load()

    def _recorded(self, ordered: Identities) -> Identities:
        try:
            return self._ids.matching(ordered.hashes)
        except DamagedRunError:
            self._ids.discard()
            self._load()
            return self._ids.matching(ordered.hashes)


class _NoRefusals:
    def conditions(self, requests: Sequence[tuple[str, TimeRanges]]) -> Sequence[str]:  # noqa: ARG002
        return ()

    def count(self, number: int) -> None:
        pass


class Barrier:
    """Waits for what runs at a moment, and not for what begins later. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: set[object] = set()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """What runs within the block is waited for."""
        token = object()
        with self._changed:
            self._running.add(token)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(token)
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until the blocks that run now have ended."""
        with self._changed:
            earlier = set(self._running)
            self._changed.wait_for(lambda: not earlier & self._running)


def _index_of(database: Database) -> Index:
    ids = StoredIds(database.derived_directory, database)
    database.on_load(ids.forget_parts)
    return ids


def _from(earliest_ms: Mapping[str, int], one: BatchRequest) -> TimeRanges:
    """The time ranges of a request, without those of expired events: an expired hour has no other events."""
    if one.account_id not in earliest_ms:
        return one.spans.ranges
    return {hour: times for hour, times in one.spans.ranges.items() if times[1] >= earliest_ms[one.account_id]}


def _rejected(staged: Staged, requests: int) -> list[dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for request, reason, spans in staged.rejected:
        found[request][reason] = spans
    return [found.get(request, {}) for request in range(requests)]
