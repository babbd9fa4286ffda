"""Finalises days: their sums are stored for ever, and their events are not read any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import date
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.aggregates.changes import Changes
from infraprism.backend.store.aggregates.cubes import PERMANENT
from infraprism.backend.store.aggregates.published import Day, Published
from infraprism.backend.store.aggregates.tables import BrokenTableError, Tables
from infraprism.backend.store.aggregates.zone_names import ZoneOf
from infraprism.backend.store.database import StoreError

_CALLS_AT_ONCE: Final = 300_000
_DAYS_AT_ONCE: Final = 31

_log = logging.getLogger(__name__)


class Finalisation:
    """The days before a date of an account become final in one step, or none of them."""

    def __init__(
        self, changes: Changes, tables: Tables, computing: AbstractContextManager[object], zone_of: ZoneOf
    ) -> None:
        self._changes = changes
        self._zone_of = zone_of
        self._tables = tables
        self._computing = computing

    def finalise(self, account: str, end: date, should_stop: Callable[[], bool]) -> None:
        """Finalise all days of an account before a date.

        Raises StoreError if one of them changes in the meantime, or `should_stop` is true. ClickHouseError,
        BrokenTableError.
        """
        before = self._changes.finalised_before(account)
        if before is not None and end <= before:
            return
        time_zone = self._zone_of(account)
        with self._changes.watching(account, end) as watch:
            with self._computing:
                self._tables.open_permanent()
                self._tables.delete_unfinished(account, before)
                counts = self._tables.event_counts_before(account, before, end)
            found: list[Published] = []
            for days in _chunks(counts):
                if should_stop():
                    raise StoreError
                version = self._changes.new_version()
                with self._computing:
                    found += self._tables.compute(days, PERMANENT, version, time_zone, complete=True)
            if {one.day: one.calls for one in found} != counts or not self._changes.finalise(watch, found):
                raise StoreError

    def verify(self, *, checksums: bool = True) -> bool:
        """Compare the permanent sums with what was finalised, and the `checksums` of their parts.

        Days that lack rows are unknown from now on; all days, if a part is damaged. Returns whether some are that were
        not before.
        """
        finalised = self._changes.all_finalised()
        if not finalised:
            return False
        try:
            with self._computing:
                rows = self._tables.row_counts(PERMANENT, "day")
                are_intact = not checksums or self._tables.are_intact(PERMANENT)
        except (ClickHouseError, BrokenTableError):
            rows, are_intact = {}, False
        unknown = {
            one.day
            for one in finalised
            if not are_intact or rows.get((one.day, one.version)) != (one.rows["day"], one.calls)
        }
        if unknown:
            _log.error("the permanent sums of %d days are damaged: restore them from a backup", len(unknown))
        return self._changes.set_unknown(unknown)


def _chunks(counts: Mapping[Day, int]) -> list[list[Day]]:
    """Days that one computation can have: few enough events, but at least one day."""
    chunks: list[list[Day]] = []
    size = 0
    for day, calls in sorted(counts.items()):
        if not chunks or size + calls > _CALLS_AT_ONCE or len(chunks[-1]) >= _DAYS_AT_ONCE:
            chunks.append([])
            size = 0
        chunks[-1].append(day)
        size += calls
    return chunks
