"""The store of events of a server that starts: its writer, its log, and what is deleted from it by age."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from infraprism.backend.account_zones import AccountZones
from infraprism.backend.accounts import Accounts
from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.cluster import node
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.deletions import Refusals
from infraprism.backend.deletions.holders import KeptRequests
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.event_inserter import Cutoff
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.ingest.write_ahead_log.log import WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.segments import ASIDE, LOG_DIRECTORY, Segments
from infraprism.backend.preflight import StartupError
from infraprism.backend.retention import Retention
from infraprism.backend.retention.expiry import Expiry, LostSumsError
from infraprism.backend.settings import Settings
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates.aggregates import FINALISED_FILE
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.status import write_fault


class EventStore(NamedTuple):
    """Where events are read and written. A node of a cluster has no log. `measured` is what analytics read."""

    database: EmbeddedDatabase | ClusterDatabase
    writer: BatchWriter
    log: WriteAheadLog | None
    measured: Source

    @property
    def is_alive(self) -> bool:
        """Whether events are written."""
        return self.writer.is_alive and (self.log is None or self.log.is_alive)

    async def ended(self) -> None:
        """Wait until the writer or the log has ended, which is a fault."""
        ends = (self.writer.ended, self.log.ended) if self.log else (self.writer.ended,)
        await asyncio.wait([asyncio.ensure_future(end()) for end in ends], return_when=asyncio.FIRST_COMPLETED)


def open_store(
    settings: Settings, accounts: Accounts, stack: AsyncExitStack, *, cutoff_ms: Cutoff, refusals: Refusals, port: int
) -> EventStore:
    """Open the store, which the stack closes. Raises StartupError."""
    if settings.store is not None:
        database, writer = node.start(settings, accounts, port, stack, cutoff_ms=cutoff_ms, refusals=refusals)
        stack.push_async_callback(writer.close)
        return EventStore(database, writer, None, measured_rows)
    embedded, writer = _embedded(settings, stack, cutoff_ms, refusals, AccountZones(accounts.database))
    log = _log(settings, writer, embedded)
    stack.push_async_callback(writer.close)
    return EventStore(embedded, writer, log, partial(embedded.aggregates.relation, event_rows=measured_rows))


def open_recent_calls(settings: Settings, database: EmbeddedDatabase | ClusterDatabase) -> RecentCalls:
    """The calls that the Collector sent lately. Raises StartupError."""
    try:
        return RecentCalls(settings.data_dir / "calls.sqlite", database)
    except (sqlite3.Error, OSError, ValueError) as error:
        raise StartupError(
            f"{settings.data_dir}/calls.sqlite cannot be opened ({error}): move it away and start again."
            " It only recognises calls that are sent again; no event is lost"
        ) from None


def start_expiry(database: EmbeddedDatabase, retention: Retention, settings: Settings, receiver: Receiver) -> None:
    """Delete expired events in the background. Raises StartupError."""
    kept = KeptRequests(settings.data_dir / LOG_DIRECTORY / ASIDE)

    def forget(account_id: str, before_ms: int) -> None:
        kept.delete_before(account_id, before_ms)
        try:
            receiver.forget_expired(account_id)
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    expiry = Expiry(database, retention, should_stop=partial(database.rest, 0), clock=time.monotonic, forget=forget)
    try:
        expiry.check()
    except LostSumsError:
        raise StartupError(
            f"{settings.data_dir / FINALISED_FILE} does not have the days whose events were deleted: restore it from"
            " a backup. Without it their sums cannot be read"
        ) from None
    database.maintain("retention", expiry.work)


def limitations(settings: Settings, store: EventStore) -> Sequence[Callable[[], str | None]]:
    """What returns why events are stored with limitations, or None."""
    if store.log is None:
        return ()

    def log() -> str | None:
        cause = write_fault(settings.data_dir / LOG_DIRECTORY)
        return cause and f"the log cannot be written ({cause}): small requests are stored without it"

    def index() -> str | None:
        directory = store.database.derived_directory
        cause = write_fault(directory) if directory.exists() else None  # it is created in the background
        return (
            cause and f"the index of stored ids cannot be written ({cause}): it is kept in memory as long as possible"
        )

    def loading() -> str | None:
        if not store.writer.is_loading:
            return None
        return "the index of stored ids is being read from the events: events are rejected with 503 until then"

    return log, index, loading


def _log(settings: Settings, writer: BatchWriter, database: EmbeddedDatabase) -> WriteAheadLog:
    """The log of small requests. A node of a cluster has none: its disk is not replicated. Raises StartupError."""
    directory = settings.data_dir / LOG_DIRECTORY
    try:
        return WriteAheadLog(Segments(directory), writer, lambda: database.status().can_store and not writer.is_loading)
    except OSError as error:
        raise StartupError(f"{directory} cannot be used ({error.strerror}): check the disk") from None


def _embedded(
    settings: Settings, stack: AsyncExitStack, cutoff_ms: Cutoff, refusals: Refusals, zones: AccountZones
) -> tuple[EmbeddedDatabase, BatchWriter]:
    """The store in the data directory, and its writer. Raises StartupError."""
    try:
        database = EmbeddedDatabase(settings.data_dir / "store", settings.reserve_bytes, zone_of=zones.of)
    except StoreError as error:
        cause = write_fault(settings.data_dir)
        raise StartupError(
            f"the database in {settings.data_dir} cannot be opened"
            + (
                f" ({cause}): free space, or raise the quota"
                if cause
                else f" (engine code {error.code}): check the disk"
            )
            + ", or choose another --data-dir"
        ) from None
    stack.callback(database.close)
    before_insert = database.aggregates.before_insert
    return database, BatchWriter(database, before_insert=before_insert, cutoff_ms=cutoff_ms, refusals=refusals)
