"""Refuses late events of deleted scopes. A scope is known by its keyed hash only."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from sqlalchemy import select

from infraprism.backend.deletions.scope import Kind, sql_hash
from infraprism.backend.deletions.tables import DELETIONS
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store.quoting import literal

REASON: Final = "deleted"


class Refused(NamedTuple):
    """A deleted scope: events with this hash that start from `first_ms` and before `end_ms` are refused."""

    kind: Kind
    hash: bytes
    first_ms: int
    end_ms: int


def _fixed(value: bytes) -> str:
    return f"CAST(unhex('{value.hex()}'), 'FixedString({len(value)})')"


class Refusals:
    """The deleted scopes of all accounts, in memory. Thread-safe. `key` is a secret of the installation.

    `reload` reads them from the database; it raises DatabaseUnavailableError.
    """

    def __init__(self, database: RelationalDatabase, key: bytes) -> None:
        self._database = database
        self.key: Final = key
        self._of: Mapping[str, Sequence[Refused]] = MappingProxyType({})
        self._end_ms: Mapping[str, int] = MappingProxyType({})
        self._lock = threading.Lock()
        self.refused = 0
        """The number of events that were refused since the start."""
        self.reload()

    def reload(self) -> None:
        """Read the deleted scopes."""
        found: dict[str, list[Refused]] = defaultdict(list)
        for row in self._database.rows(select(DELETIONS)):
            end_ms = row.requested_ms if row.end_ms is None else min(row.end_ms, row.requested_ms)
            found[row.account_id].append(Refused(cast(Kind, row.kind), bytes(row.hash), row.first_ms or 0, end_ms))
        self._end_ms = {name: max(one.end_ms for one in scopes) for name, scopes in found.items()}
        self._of = found

    def end_ms(self, account_id: str) -> int:
        """An event that starts at this time or later is not refused; 0 without deletions."""
        return self._end_ms.get(account_id, 0)

    def conditions(self, requests: Iterable[tuple[str, Mapping[int, tuple[int, int]]]]) -> list[str]:
        """SQL conditions, one per account, that a refused span of these accounts and time ranges meets.

        They read the columns of the statement that checks spans. Most batches have none.
        """
        ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for account_id, times in requests:
            if account_id in self._of:
                ranges[account_id] += times.values()
        conditions = []
        for account_id, found in ranges.items():
            scopes = [
                one
                for one in self._of[account_id]
                if any(first < one.end_ms and last >= one.first_ms for first, last in found)
            ]
            if scopes:
                conditions.append(self._condition(account_id, scopes))
        return conditions

    def _condition(self, account_id: str, scopes: Sequence[Refused]) -> str:
        def hashed(kind: Kind, *values: str) -> str:
            return sql_hash(self.key, account_id, kind, *values)

        # The hash of each tag of a span: a span has the tag if one is equal.
        tags = f"arrayMap((tag_key, tag_value) -> {hashed('tag', 'tag_key', 'tag_value')}, tag_keys, tag_values)"
        of_kind: Mapping[Kind, Callable[[str], str]] = {
            "everything": lambda _: "true",
            "date_range": lambda _: "true",
            "entity": lambda wanted: f"{hashed('entity', 'raw_entity_type', 'raw_entity_id')} = {wanted}",
            "session": lambda wanted: f"{hashed('session', 'raw_session_id')} = {wanted}",
            "tag": lambda wanted: f"has({tags}, {wanted})",
        }
        tests = " OR ".join(
            f"start_ms >= {one.first_ms} AND start_ms < {one.end_ms} AND {of_kind[one.kind](_fixed(one.hash))}"
            for one in sorted(set(scopes))
        )
        return f"account = {literal(account_id)} AND ({tests})"

    def count(self, number: int) -> None:
        """Count refused events."""
        with self._lock:
            self.refused += number

    def gauges(self) -> dict[str, tuple[str, Callable[[], int]]]:
        """The values for `/metrics`, by name: the description, and what returns the value."""
        return {"deleted_rejected_events": ("Events of deleted scopes that were refused.", lambda: self.refused)}
