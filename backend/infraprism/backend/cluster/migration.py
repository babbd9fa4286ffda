"""Copies the events of an embedded store and the accounts of a data directory to a server, each once.

The copy is a node of the cluster that owns every shard, so an event that is stored already is not inserted again. It
may be interrupted and run again: days that are equal on both sides are skipped.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from infraprism.backend.accounts.stored_accounts import StoredAccounts
from infraprism.backend.cluster import server_address
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.cluster.leases import Leases
from infraprism.backend.store import Database
from infraprism.backend.store.embedded import EmbeddedDatabase

_ROWS_AT_ONCE: Final = 250_000
_LEASE_S: Final = 10
_SHARDS: Final = 16
_SUMS: Final = (
    "SELECT toString(toDate(timestamp, 'UTC')) AS day, account, count() AS events,"
    " toString(groupBitXor(cityHash64(account, id))) AS ids,"
    " toString(sum(toDecimal256(cost_usd, 18))) AS cost, toString(sum(input_tokens)) AS input_tokens,"
    " toString(sum(output_tokens)) AS output_tokens, toString(sum(latency_ms)) AS latency_ms"
    " FROM events WHERE account != '' GROUP BY ALL ORDER BY day, account"
)
"""Counts and sums of each day and account."""


class MigrationError(Exception):
    """The events cannot be copied. The message is shown to the user."""


class Difference(NamedTuple):
    """An account and a day of which the two sides differ."""

    account: str
    day: str
    events_here: int
    events_there: int

    def __str__(self) -> str:
        return f"{self.account}, {self.day}: {self.events_here} events here, {self.events_there} there"


class Progress(NamedTuple):
    """What has been done: days and events, and what there is to do."""

    days: int
    all_days: int
    events: int
    all_events: int


class Migration:
    """A copy of the events of one store to a server."""

    def __init__(self, source: EmbeddedDatabase, target: ClusterDatabase) -> None:
        self._source = source
        self._target = target

    def run(self, progress: Callable[[Progress], None]) -> list[Difference]:
        """Copy, and compare both sides by day and account. Returns the differences. Raises StoreError."""
        here = _sums(self._source)
        there = _sums(self._target)
        missing: dict[str, int] = {}
        for (day, account), sums in here.items():
            if there.get((day, account)) != sums:
                missing[day] = missing.get(day, 0) + int(sums["events"])
        days = copied = 0
        for group in _groups(missing):
            events = sum(missing[day] for day in group)
            parts = math.ceil(events / _ROWS_AT_ONCE)
            for part in range(parts):
                self._target.copy(
                    f"default.events WHERE toDate(timestamp, 'UTC') BETWEEN '{group[0]}' AND '{group[-1]}'"
                    f" AND cityHash64(id) % {parts} = {part}"
                )
            days, copied = days + len(group), copied + events
            progress(Progress(days, len(missing), copied, sum(missing.values())))
        there = _sums(self._target)
        return [
            Difference(account, day, int(sums["events"]), int(there.get((day, account), {"events": "0"})["events"]))
            for (day, account), sums in here.items()
            if there.get((day, account)) != sums
        ]


def _groups(events_by_day: Mapping[str, int]) -> Iterator[list[str]]:
    """Days of one month with at most `_ROWS_AT_ONCE` events together, or single days with more."""
    group: list[str] = []
    for day in events_by_day:
        rows = sum(events_by_day[other] for other in (*group, day))
        if group and (rows > _ROWS_AT_ONCE or day[:7] != group[0][:7]):
            yield group
            group = []
        group.append(day)
    if group:
        yield group


def _sums(database: Database) -> dict[tuple[str, str], dict[str, str]]:
    found = {}
    for row in map(json.loads, database.read(_SUMS, {})):
        found[row.pop("day"), row.pop("account")] = {name: str(value) for name, value in row.items()}
    return found


def copy_accounts(file: Path, url: str) -> int:
    """Add the accounts, keys and secrets of a file to PostgreSQL, except those that it has. Returns the accounts here.

    Raises DatabaseUnavailableError, OSError.
    """
    with closing(StoredAccounts(file)) as here, closing(StoredAccounts(url)) as there:
        for table, rows in here.everything():
            for row in rows:
                there.insert_if_absent(table, **row)
        return len(here.all())


@contextmanager
def opened(source: EmbeddedDatabase, directory: Path, store: str, accounts: str) -> Iterator[Migration]:
    """A migration of the store in a directory.

    Raises MigrationError, AddressError, ServerError, StoreError, DatabaseUnavailableError.
    """
    address = server_address.parse(store)
    node = secrets.token_hex(8)
    with ExitStack() as stack:
        leases = Leases(accounts, node, "", _SHARDS, _LEASE_S)
        others = leases.state().nodes
        if others:
            leases.close()
            raise MigrationError(
                f"{len(others)} servers use {address}: stop them first; one that was killed counts for {_LEASE_S} s"
            )
        target = ClusterDatabase(address, leases, node, directory / "stored_ids", directory)
        stack.callback(target.close)
        if not target.owns_all:
            raise MigrationError(f"another server uses {address}: stop it first")
        yield Migration(source, target)
