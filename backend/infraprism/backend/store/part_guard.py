"""Keeps merges from losing rows: verifies every new part, and restores the sources of a damaged merged part.

The engine keeps the source parts of a merge for `old_parts_lifetime` seconds (schema.py). Within that time the
merged part is read and compared with its checksums. If it is damaged, the table is detached and attached again without
it: the engine then loads the source parts as active parts, and no row is missing.

Merges are stopped while the disk is nearly full, for some time after a damaged merge, and while parts wait for
verification longer than a quarter of that lifetime.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.damage import DAMAGED_PREFIX, DISCARDED_PREFIX, REPLACED_PREFIX, discard, unused
from infraprism.backend.store.database import StoreError
from infraprism.backend.store.part_files import small_files_are_intact
from infraprism.backend.store.parts import (
    BROKEN,
    Deletion,
    Part,
    active_parts,
    active_rows,
    all_parts,
    delete_files,
    is_intact,
    lacks_rows,
    shares_files,
)
from infraprism.backend.store.quoting import literal
from infraprism.backend.store.schema import OLD_PARTS_LIFETIME_S

_MAX_WAIT_S: Final = OLD_PARTS_LIFETIME_S / 4
_FIRST_BACKOFF_S: Final = 10.0
_MAX_BACKOFF_S: Final = 1800.0
_HELD_S: Final = 5.0
_ATTACH_ATTEMPTS: Final = 50
_ATTACH_INTERVAL_S: Final = 0.1
_DETACHED: Final = "detached"

_log = logging.getLogger(__name__)


class PartGuard:
    """Guards the parts of one table.

    `exclusive` is a context manager: within it no other statement uses the table. `is_short` tells whether space is
    short. `on_load` is called before the table is loaded again. `writer` is used by `verify_insert`; `client` by
    `tick`, which another thread may call at the same time. `clock` returns monotonic seconds; `rest` waits as many
    seconds.
    """

    def __init__(
        self,
        writer: Client,
        client: Client,
        table: str,
        *,
        exclusive: Callable[[], AbstractContextManager[object]],
        is_short: Callable[[], bool],
        on_load: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._writer = writer
        self._client = client
        self._table = table
        self._exclusive = exclusive
        self._is_short = is_short
        self._on_load = on_load
        self._clock = clock
        self._rest = rest
        self._lock = threading.Lock()
        self._waiting_since: dict[str, float] = {}
        self._backoff_s = _FIRST_BACKOFF_S
        self._resume_s = self._held_until_s = float("-inf")
        self.merges_stopped = False
        self.is_attached = True
        self.frees_space = False
        """Whether a deletion runs for which there is enough space: it runs also if space is short."""
        found = active_parts(client, table)
        # Inserted parts were verified before their events were acknowledged.
        self._verified = {part.name for part in found if part.is_inserted}
        self.deletion: Deletion | None = None
        """The deletion of which parts may not be verified."""
        self.verified: Sequence[Part] | None = [part for part in found if part.is_inserted]
        """The active parts that are verified, as of the last `tick`; None if it found a damaged one."""

    def verify_insert(self) -> None:
        """Verify the parts of an INSERT that has returned. Raises StoreError if one is damaged; its rows are removed.

        Called by the thread that inserts, which holds the table.
        """
        # A part that was merged in the meantime is no longer active. The merge has read and compared all of it.
        inserted = [part for part in active_parts(self._writer, self._table, "level = 0") if part.is_inserted]
        with self._lock:
            new = [part for part in inserted if part.name not in self._verified]
        damaged = [part for part in new if not is_intact(self._writer, self._table, part)]
        with self._lock:
            # A removed part is not added: the engine reuses its name.
            self._verified.update(part.name for part in new if part not in damaged)
        if damaged:
            self._reload(self._writer, damaged, acknowledged=False)
            raise StoreError(BROKEN)

    def tick(self) -> None:
        """Verify all new parts, and start or stop merges. Called about once a second."""
        self._control_merges()
        now_s = self._clock()
        parts = active_parts(self._client, self._table)
        with self._lock:
            before = set(self._verified)
            self._verified.intersection_update(part.name for part in parts)
            new = [part for part in parts if part.name not in self._verified and not part.is_inserted]
        self._waiting_since = {part.name: self._waiting_since.get(part.name, now_s) for part in new}
        damaged = []
        for part in new:
            is_whole = self._is_linked(part, before) or is_intact(self._client, self._table, part)
            if is_whole and not lacks_rows(self._client, self._table, part, self.deletion):
                with self._lock:
                    self._verified.add(part.name)
                if self._clock() - self._waiting_since.pop(part.name) > OLD_PARTS_LIFETIME_S:
                    _log.warning(
                        "the part %s was verified late: its %d rows could not be compared with its sources",
                        part.name,
                        part.rows,
                    )
                self._backoff_s = _FIRST_BACKOFF_S
            else:
                damaged.append(part)
        if damaged:
            self.verified = None
            self._resume_s = self._clock() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, _MAX_BACKOFF_S)
            self._control_merges()
            with self._exclusive():
                self._reload(self._client, damaged, acknowledged=True)
        else:
            with self._lock:
                self.verified = [part for part in parts if part.name in self._verified]
        self._control_merges()

    def has_verified_all(self, client: Client, *, hold_merges: bool) -> bool:
        """Whether every active part is verified: then the sources of merges are not needed.

        With `hold_merges` no merge begins for some seconds. Called by a thread that holds the table.
        """
        if hold_merges:
            self._held_until_s = self._clock() + _HELD_S
        if not self.is_attached:
            return False
        active = active_parts(client, self._table)
        with self._lock:
            return self.verified is not None and all(part.is_inserted or part.name in self._verified for part in active)

    def _is_linked(self, part: Part, verified: Container[str]) -> bool:
        """Whether a mutation has not changed a part: it has the files of a part that is verified. It reads no data."""
        if not part.mutation:
            return False
        replaced = all_parts(self._client, self._table, f"NOT active AND partition_id = {literal(part.partition_id)}")
        return any(
            old.name in verified
            and (old.min_block_number, old.max_block_number, old.level, old.rows)
            == (part.min_block_number, part.max_block_number, part.level, part.rows)
            and shares_files(part, old)
            for old in replaced
        )

    def move_aside(self, client: Client, parts: Sequence[Part]) -> None:
        """Move acknowledged parts that are damaged to the directory of detached parts. Sources are restored."""
        with self._exclusive():
            active = {part.name for part in active_parts(client, self._table)}
            damaged = [
                part
                for part in parts
                if part.name in active
                and not (small_files_are_intact(part.files) and is_intact(client, self._table, part))
            ]
            if damaged:
                self._reload(client, damaged, acknowledged=True)

    def remove_replaced(self, client: Client) -> bool:
        """Delete the parts that a deletion has replaced, at once. Returns whether none is left.

        A part is deleted when the parts that replaced it are verified. Raises OSError.
        """
        parts = all_parts(client, self._table, "true")
        active = {part.name for part in active_parts(client, self._table)}
        with self._lock:
            verified = self._verified & active
        mutated = [part for part in parts if part.mutation]
        is_none_left = not any(part.name in active and part.name not in verified for part in mutated)
        for old in parts:
            if old.name in active or not old.files.exists():
                continue
            replacing = [part for part in mutated if part.mutation > old.data_version and part.contains(old)]
            # A part without rows is removed by the engine.
            if any(part.name in verified or (part.name not in active and not part.rows) for part in replacing):
                delete_files(old)
            elif replacing:
                is_none_left = False
        return is_none_left

    def attach(self) -> bool:
        """Attach the table if an earlier attempt failed. Returns whether it is attached."""
        if not self.is_attached:
            with self._exclusive():
                self._attach(self._client)
        return self.is_attached

    def _control_merges(self) -> None:
        now_s = self._clock()
        is_late = any(now_s - since_s > _MAX_WAIT_S for since_s in self._waiting_since.values())
        is_short = self._is_short() and not self.frees_space
        stop = is_late or now_s < max(self._resume_s, self._held_until_s) or is_short
        if stop != self.merges_stopped:
            self._client.command(f"SYSTEM {'STOP' if stop else 'START'} MERGES {self._table}")
            self.merges_stopped = stop

    def _reload(self, client: Client, damaged: Sequence[Part], *, acknowledged: bool) -> None:
        """Load the table without the damaged parts. Rows of a merged part are then read from its sources."""
        client.command(f"DETACH TABLE {self._table}")
        self.is_attached = False
        moved = {}
        # A start judges parts with these prefixes, if the process is killed before it is done here.
        prefix = REPLACED_PREFIX if acknowledged else DISCARDED_PREFIX
        for part in damaged:
            target = unused(part.files.parent / _DETACHED, f"{prefix}{part.name}")
            part.files.rename(target)
            moved[part] = target
        self._attach(client)
        if not self.is_attached:
            raise StoreError(BROKEN)
        for part, target in moved.items():
            self._forget(client, part, target, acknowledged=acknowledged)

    def _attach(self, client: Client) -> None:
        self._on_load()
        for attempt in range(_ATTACH_ATTEMPTS):
            try:
                client.command(f"ATTACH TABLE {self._table}")
            except ClickHouseError as error:
                if attempt == 0:
                    code = getattr(error, "code", 0)
                    _log.warning("the table %s cannot be attached (engine code %s): it is repeated", self._table, code)
                self._rest(_ATTACH_INTERVAL_S)
            else:
                self.is_attached = True
                # A table is attached with merges started.
                self.merges_stopped = False
                return

    def _forget(self, client: Client, part: Part, moved: Path, *, acknowledged: bool) -> None:
        """Delete a damaged part if none of its rows is missing. Otherwise it is kept as damage."""
        if not acknowledged:
            discard(moved)
            _log.warning("the disk did not store a part with %d rows: their requests are rejected", part.rows)
            return
        found = active_rows(client, self._table, part.partition_id, part.min_block_number, part.max_block_number)
        if found >= part.rows:
            discard(moved)
            _log.warning("the disk did not store a merged part with %d rows: its sources were restored", part.rows)
        else:
            moved.rename(unused(moved.parent, f"{DAMAGED_PREFIX}{part.name}"))
            _log.error("the part %s is damaged: %d of its %d rows are missing", part.name, part.rows - found, part.rows)
