"""Deletes from a restored store what was deleted after the backup was made, as accounts that survived record it.

It runs before a server can start. A deletion that was completed is known by its keyed hash only, so the events are
found by this hash, and so are the values of the permanent sums. Events of accounts that no longer exist, or that are in
another region, are deleted too. Events in the copy of the log are refused when the server applies it, by the same rule.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.snapshot import STORE
from infraprism.backend.deletions.scope import sql_hash
from infraprism.backend.deletions.tables import DELETIONS
from infraprism.backend.ingest.write_ahead_log.segments import ASIDE, LOG_DIRECTORY
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store.aggregates.permanent_removal import SumScope
from infraprism.backend.store.database import StoreError
from infraprism.backend.store.embedded import EmbeddedDatabase

_EPOCH: Final = date(1970, 1, 1)
_DAY_MS: Final = 86_400_000
_TAGS: Final = "arrayMap((tag_key, tag_value) -> {}, mapKeys(tags), mapValues(tags))"


class Applied(NamedTuple):
    """What was applied: deletions of scopes, accounts that are gone, and the events that were deleted for them.

    `damaged_parts` are not read by queries, and not by deletions.
    """

    deletions: int
    accounts: int
    events: int
    damaged_parts: int


def apply(
    data_dir: Path,
    accounts: RelationalDatabase,
    key: bytes,
    region: str | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Applied:
    """Delete again. `key` is the secret of the hashes. Raises BackupError, DatabaseUnavailableError, OSError."""
    try:
        with closing(EmbeddedDatabase(data_dir / STORE, reserve_bytes=0, computes_aggregates=False)) as database:
            gone = _gone(database, accounts, region)
            rows = accounts.rows(select(DELETIONS).order_by(DELETIONS.c.requested_ms))
            deleted = 0
            for place, row in enumerate(rows):
                deleted += _delete_scope(database, key, row)
                progress(place + 1, len(rows))
            for account_id in gone:
                deleted += _delete(database, account_id, (), None, None)
                _remove_sums(database, SumScope(account_id, None, None))
            _remove_kept_requests(data_dir, {*gone, *(row.account_id for row in rows)})
            return Applied(len(rows), len(gone), deleted, len(database.status().damaged))
    except (StoreError, sqlite3.Error) as error:
        raise BackupError(
            f"what was deleted since could not be deleted again ({type(error).__name__}): run the restore again"
        ) from None


def _remove_kept_requests(data_dir: Path, account_ids: set[str]) -> None:
    """Remove the requests of these accounts that the store had rejected, and files of the log that were damaged."""
    kept = data_dir / LOG_DIRECTORY / ASIDE
    for path in kept.iterdir() if account_ids and kept.is_dir() else ():
        if path.suffix != ".otlp" or path.name.partition("-")[0] in account_ids:
            path.unlink()


def _gone(database: EmbeddedDatabase, accounts: RelationalDatabase, region: str | None) -> list[str]:
    """The accounts with events that do not exist any more, or that are in another region."""
    known = {row.id for row in accounts.rows(select(ACCOUNTS.c.id, ACCOUNTS.c.region)) if _is_here(row.region, region)}
    tables = ("events", *_sum_tables(database))
    found = {
        json.loads(row)["account"]
        for name in tables
        for row in database.read(f"SELECT DISTINCT account FROM {name} WHERE account != ''", {})
    }
    return sorted(found - known)


def _is_here(region: str | None, own: str | None) -> bool:
    return own is None or region is None or region.partition(SEPARATOR)[0] == own


def _delete_scope(database: EmbeddedDatabase, key: bytes, row: Any) -> int:
    end_ms = row.requested_ms if row.end_ms is None else min(row.end_ms, row.requested_ms)
    deleted = _delete(database, row.account_id, _conditions(key, row), row.first_ms, end_ms)
    first = None if row.first_ms is None else _EPOCH + timedelta(days=-(-row.first_ms // _DAY_MS))
    end = None if row.end_ms is None else _EPOCH + timedelta(days=row.end_ms // _DAY_MS)
    for scope in _sum_scopes(database, key, row, first, end):
        _remove_sums(database, scope)
    return deleted


def _conditions(key: bytes, row: Any) -> tuple[str, ...]:
    """The conditions on events, without those of the account and the times."""
    wanted = f"CAST(unhex('{bytes(row.hash).hex()}'), 'FixedString(32)')"
    match row.kind:
        case "entity":
            return (f"{sql_hash(key, row.account_id, 'entity', 'entity_type', 'entity_id')} = {wanted}",)
        case "session":
            return (f"{sql_hash(key, row.account_id, 'session', 'session_id')} = {wanted}",)
        case "tag":
            hashed = sql_hash(key, row.account_id, "tag", "tag_key", "tag_value")
            return (f"has({_TAGS.format(hashed)}, {wanted})",)
    return ()


def _sum_scopes(
    database: EmbeddedDatabase, key: bytes, row: Any, first: date | None, end: date | None
) -> Iterator[SumScope]:
    """The scopes of permanent sums. A session is in none of them."""
    if row.kind == "session":
        return
    if row.kind not in {"entity", "tag"}:
        yield SumScope(row.account_id, first, end)
        return
    names = ("entity_type", "entity_id") if row.kind == "entity" else ("tag_key", "tag_value")
    wanted = f"CAST(unhex('{bytes(row.hash).hex()}'), 'FixedString(32)')"
    hashed = sql_hash(key, row.account_id, row.kind, *(f"ifNull(toString({name}), '')" for name in names))
    for table in _sum_tables(database):
        for line in database.read(
            f"SELECT DISTINCT {names[0]} AS one, {names[1]} AS two FROM {table}"
            f" WHERE account = {{account:String}} AND {hashed} = {wanted}",
            {"account": row.account_id},
        ):
            found = json.loads(line)
            pair = (found["one"], found["two"])
            is_entity = row.kind == "entity"
            yield SumScope(
                row.account_id, first, end, entity=pair if is_entity else None, tag=None if is_entity else pair
            )


def _sum_tables(database: EmbeddedDatabase) -> list[str]:
    """The tables of sums by day, permanent ones included."""
    rows = database.read(
        "SELECT table AS name FROM system.columns WHERE database = currentDatabase() AND table != 'events'"
        " AND name IN ('account', 'entity_id', 'tag_key') GROUP BY table HAVING count() = 3 ORDER BY table",
        {},
    )
    return [json.loads(row)["name"] for row in rows]


def _delete(
    database: EmbeddedDatabase, account_id: str, conditions: tuple[str, ...], first_ms: int | None, end_ms: int | None
) -> int:
    return database.delete_events(
        account_id, conditions, {}, first_ms=first_ms, end_ms=end_ms, should_stop=lambda: False
    )


def _remove_sums(database: EmbeddedDatabase, scope: SumScope) -> None:
    database.aggregates.deletion.remove_finalised(scope)
    database.aggregates.deletion.remove_unread_rows(scope.account)
