"""The ClickHouse engine embedded in this process (chDB), used through the ClickHouse client."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store import account_rows, frozen, salvage, schema
from infraprism.backend.store.aggregates import Aggregates, RelationExpiredError
from infraprism.backend.store.aggregates.tables import remove_truncated_definitions
from infraprism.backend.store.aggregates.zone_names import ZoneOf, utc
from infraprism.backend.store.background import Background
from infraprism.backend.store.damage import QUARANTINE, DamagedPart, DamageReport, discard_restored
from infraprism.backend.store.database import (
    ENGINE_ABORTED,
    Layout,
    Parameter,
    Staged,
    StoredPart,
    StoreError,
)
from infraprism.backend.store.engine import connect, engine_errors, format_schema
from infraprism.backend.store.event_deletion import EventDeletion
from infraprism.backend.store.identities import Identities
from infraprism.backend.store.inventory import Inventory
from infraprism.backend.store.lanes import HASH, Lane, identities
from infraprism.backend.store.parquet import to_parquet
from infraprism.backend.store.part_guard import PartGuard
from infraprism.backend.store.parts import (
    BROKEN,
    DAMAGE_CODES,
    active_parts,
    covers,
    detached_directory,
)
from infraprism.backend.store.quoting import NO_SETTINGS, events_filter
from infraprism.backend.store.readers import Readers
from infraprism.backend.store.salvage import RepairedPart
from infraprism.backend.store.scrub import Scrub
from infraprism.backend.store.status import FreeSpace, StoreStatus, write_fault

LANES: Final = 2
"""Batches that are staged at the same time."""
_IDENTITIES_AT_ONCE: Final = 2**18
AGGREGATES_FILE: Final = "aggregates.sqlite"


class EmbeddedDatabase:
    """The database in one directory. A directory can be opened by one process, and a process can open one directory.

    `reserve_bytes` of the disk stay free; without it 1 GiB, or 5 % of a small disk. With `computes_aggregates` the days
    that changed are computed in the background. `zone_of` returns the reporting time zone of an account. Raises
    StoreError if the directory cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        reserve_bytes: int | None = None,
        *,
        computes_aggregates: bool = True,
        zone_of: ZoneOf = utc,
    ) -> None:
        self._directory = directory
        self.derived_directory = directory / "stored_ids"
        self._loaded: list[Callable[[], None]] = []
        schema.remove_definitions_of_ingest(directory)
        schema.remove_salvage(directory)
        frozen.remove(directory)  # of a backup that was interrupted
        self._inventory = Inventory(directory)
        try:
            self._inventory.restore()
        except OSError:
            raise StoreError(BROKEN) from None
        remove_truncated_definitions(directory)
        schema.keep_old_parts(directory)
        with engine_errors():
            self._writer = connect(directory, {})
            self._writing = threading.Lock()
            self._probe_lock = threading.Lock()
            schema.create(self._writer.command)
            self._space = FreeSpace(directory, reserve_bytes)
            self._computing = threading.Lock()
            self._summing = connect(directory, {})
            try:
                self.aggregates = Aggregates(
                    directory.parent / AGGREGATES_FILE,
                    self._summing,
                    computing=self._computing,
                    find_damage=self._finds_damage,
                    is_short=self._space.is_low,
                    zone_of=zone_of,
                )
            except (sqlite3.Error, OSError):
                raise StoreError from None
            self._guarding = connect(directory, {})
            self._guard = PartGuard(
                self._writer,
                self._guarding,
                schema.EVENTS,
                exclusive=self._exclusive,
                is_short=self._space.is_low,
                on_load=self._on_load,
            )
            self._lanes = [Lane(connect(directory, {}), number) for number in range(LANES)]
            self._readers = Readers(directory)
            self._quarantine = directory.parent / QUARANTINE
            detached = detached_directory(self._guarding, schema.EVENTS)
            self._table_files = detached.parent
            self._inventory.read_definition(schema.EVENTS, self._table_files)
            self._report = DamageReport(
                detached,
                self._quarantine,
                lambda name, rows: covers(self._guarding, schema.EVENTS, name, rows),
            )
            self._report.refresh()
            self.rows = account_rows.RowInsertion(
                self._writer, self._guard, writing=self._writing, after_insert=self.aggregates.after_insert
            )
            self.freezing = frozen.Freezing(self._writer, self._guard, writing=self._writing, computing=self._computing)
            self._background = Background()
            self._scrubbing = connect(directory, {"max_threads": "1"})
            self._scrub = Scrub(self._scrubbing, schema.EVENTS, self._guard.move_aside, self._background.wait)
            self._scrub.quick_check()
            self._deletion = EventDeletion(
                # A statement names each account that has expired events.
                lambda: connect(directory, {"max_threads": "1", "max_query_size": str(2**26)}),
                self._guard,
                self._inventory,
                writing=self._writing,
                changing=self.aggregates.changing,
                find_damage=self._finds_damage,
                free_bytes=self._space.free_bytes,
                rest=self._background.wait,
            )
        self._background.repeat("parts", self._guard_parts)
        self._background.repeat("verification", self._verify_when_due)
        if computes_aggregates:
            self._background.repeat("aggregates", lambda: self.aggregates.work() if self._guard.is_attached else None)

    def stage(self, lane: int, sql: str, pieces: Sequence[bytes], layout: Layout, rows: int) -> Staged:
        """See Database."""
        with engine_errors():
            return self._lanes[lane].stage(f"{sql}, {format_schema(layout)}", pieces, layout, rows)

    def insert_staged(self, lane: int, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        """See Database."""
        inserting = self._lanes[lane]
        try:
            self._insert(inserting, columns, recorded, has_doubles=has_doubles)
        except _BrokenInsertError:
            raise
        except StoreError as error:
            # The INSERT reads the table too, to find the events that are stored.
            if not self._finds_damage(error):
                raise
            self._insert(inserting, columns, recorded, has_doubles=has_doubles)
        finally:
            self.aggregates.after_insert()
        with engine_errors():
            inserting.clear()

    def _insert(self, lane: Lane, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        with self._writing, engine_errors():
            lane.insert(columns, recorded, has_doubles=has_doubles)
            try:
                self._guard.verify_insert()
            except StoreError as error:
                if self._guard.is_attached:
                    self._report.refresh()  # the table was loaded again
                raise _BrokenInsertError(error.code) from None

    def can_parse(self, lane: int, pieces: Sequence[bytes], layout: Layout) -> bool:
        """See Database."""
        try:
            with engine_errors():
                self._lanes[lane].can_parse(pieces, layout, format_schema(layout))
        except StoreError as error:
            if error.code == ENGINE_ABORTED:
                raise
            return False
        except OSError:
            return True  # the batch cannot be passed to the engine, as with a limit of the file size
        return True

    def table_id(self) -> str:
        """See Database."""
        (row,) = self.read(
            "SELECT uuid FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
            {"table": schema.EVENTS},
        )
        return str(json.loads(row)["uuid"])

    def stored_parts(self) -> list[StoredPart]:
        """See Database."""
        rows = self.read(
            "SELECT name, partition_id, min_block_number, max_block_number, rows FROM system.parts"
            " WHERE database = currentDatabase() AND table = {table:String} AND active",
            {"table": schema.EVENTS},
        )
        return [StoredPart(*json.loads(row).values()) for row in rows]

    def identities_of(self, part: StoredPart) -> Iterator[Identities]:
        """See Database."""
        for first in range(0, part.rows, _IDENTITIES_AT_ONCE):
            sql = (
                f"SELECT {HASH}, toUnixTimestamp64Milli(timestamp) FROM {schema.EVENTS} WHERE _part = {{part:String}}"
                " AND _part_offset >= {first:UInt64} AND _part_offset < {end:UInt64}"
            )
            parameters: dict[str, Parameter] = {"part": part.name, "first": first, "end": first + _IDENTITIES_AT_ONCE}
            yield identities(self._read_repeated(sql, parameters, "RowBinary"))

    def on_load(self, loaded: Callable[[], None]) -> None:
        """See Database."""
        self._loaded.append(loaded)

    def read(self, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> list[bytes]:
        """See Database. A query that reads a damaged part of the events is repeated once without it."""
        return self._read_repeated(sql, parameters, "JSONEachRow", events_filter(events)).splitlines()

    def read_as(self, form: str, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> bytes:
        """See Database."""
        return self._read_repeated(sql, parameters, form, events_filter(events))

    def convert(self, source: Path, structure: str, target: Path, should_stop: Callable[[], bool]) -> bool:
        """See Database."""
        with engine_errors():
            return to_parquet(partial(connect, self._directory, {}), source, structure, target, should_stop)

    def _read_repeated(
        self, sql: str, parameters: Mapping[str, Parameter], form: str, settings: Mapping[str, str] = NO_SETTINGS
    ) -> bytes:
        try:
            return self._readers.read(sql, parameters, form, settings)
        except StoreError as error:
            if self.aggregates.has_expired(sql, error):
                raise RelationExpiredError(error.code) from None
            if not self._finds_damage(error):
                raise
            return self._readers.read(sql, parameters, form, settings)

    def probe(self) -> None:
        """See Database."""
        with self._probe_lock:
            self._readers.probe(schema.EVENTS)

    def write_fault(self) -> str | None:
        """See Database."""
        cause = write_fault(self._table_files)
        return cause and f"the directory of the events table cannot be written ({cause})"

    def verify_all(self, progress: Callable[[int, int], None]) -> None:
        """Verify all parts now, and move damaged ones aside. `progress` gets the verified parts and their number."""
        with engine_errors():
            self._scrub.run_now(progress)

    def repair(self, part: DamagedPart) -> RepairedPart:
        """Restore the readable rows of a damaged part. Raises StoreError, OSError."""
        # The inserted rows can get the block numbers of parts that are gone, which these files name.
        salvage.remove_directory(self.derived_directory)
        with self._writing, engine_errors():
            repaired = salvage.repair(self._writer, part, self._quarantine, self._guard.verify_insert)
            self._report.refresh()
        return repaired

    def delete_events(
        self,
        account_id: str,
        conditions: Sequence[str] = (),
        parameters: Mapping[str, Parameter] = {},
        *,
        first_ms: int | None,
        end_ms: int | None,
        should_stop: Callable[[], bool],
        keep_sums: bool = False,
    ) -> int:
        """Delete events of an account that meet all conditions. Returns their number, without earlier runs.

        None of their bytes is left in the table when it returns. With `keep_sums` the days stay published: they were
        finalised. After an error, or a kill, run it again. Raises DeletionStoppedError, StoreError, OSError,
        sqlite3.Error.
        """
        with engine_errors():
            return self._deletion.run(
                account_id,
                conditions,
                parameters,
                first_ms=first_ms,
                end_ms=end_ms,
                keep_sums=keep_sums,
                should_stop=should_stop,
            )

    def delete_expired(self, before_ms: Mapping[str, int], should_stop: Callable[[], bool]) -> int:
        """Delete the events of accounts before a time of each. Their days are finalised. Returns their number.

        Raises StoreError, DeletionStoppedError, OSError.
        """
        with engine_errors():
            return self._deletion.run_expired(before_ms, should_stop)

    def maintain(self, name: str, task: Callable[[], float | None]) -> None:
        """Repeat a task in a thread of its own until `close`, see Background.repeat."""
        self._background.repeat(name, task)

    def rest(self, seconds: float) -> bool:
        """Wait, at most until `close`. Returns whether that was called."""
        return self._background.wait(seconds)

    def discard_restored(self) -> int:
        """Delete the damaged files of which all rows were restored. Returns the number of parts. Raises OSError."""
        return discard_restored(self._quarantine)

    def cancel_long_reads(self) -> None:
        """Cancel the reads that have run for more than a second; they raise StoreError."""
        self._readers.cancel_long()

    def status(self) -> StoreStatus:
        """See Database."""
        reason = None
        free_bytes, is_low = self._space.measure()
        if is_low:
            reason = "the disk is nearly full"
        elif not self._guard.is_attached:
            reason = "the events table is being restored"
        return StoreStatus(
            reason is None,
            reason,
            free_bytes,
            self._space.reserve_bytes,
            self._guard.merges_stopped,
            self._report.parts,
            self._scrub.last,
        )

    def close(self) -> None:
        """See Database."""
        self._background.stop()
        with suppress(ClickHouseError):
            if self._guard.is_attached:
                self._inventory.update(active_parts(self._guarding, schema.EVENTS))
        self._readers.close()
        for lane in self._lanes:
            lane.close()
        self.aggregates.close()
        for client in (self._scrubbing, self._guarding, self._summing):
            client.close()
        self._writer.close()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Within the block no other statement runs."""
        with self._writing, self._readers.none():
            try:
                with self._computing:
                    self.aggregates.check_again()
                    yield
            finally:
                if self._guard.is_attached:
                    self._report.refresh()

    @property
    def lanes(self) -> int:
        """See Database."""
        return len(self._lanes)

    def _on_load(self) -> None:
        for loaded in self._loaded:
            loaded()

    def _finds_damage(self, error: StoreError) -> bool:
        """Whether a statement failed because of a damaged part that is no longer read now."""
        return error.code in DAMAGE_CODES and self._scrub.find_damage(error.parts)

    def _verify_when_due(self) -> None:
        if self._guard.is_attached:
            self._scrub.run_if_due()

    def _guard_parts(self) -> None:
        if not self._guard.attach():
            return
        self._guard.tick()
        if self._guard.verified is not None:
            self._inventory.update(self._guard.verified)
        if self._report.has_changed():
            with self._writing:
                self._report.refresh()


class _BrokenInsertError(StoreError):
    """The disk did not store the inserted part."""
