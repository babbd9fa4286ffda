"""An append-only log, in which each entry has a hash of itself and of the entry before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import Connection, Row, insert, select

from infraprism.backend.audit.actions import ACTIONS, Action
from infraprism.backend.audit.tables import AUDIT_LOG
from infraprism.backend.relational.database import RelationalDatabase

FIRST: Final = bytes(32)
"""The hash before the first entry."""
SYSTEM: Final = "system"
"""The actor of what the server does by itself."""
OPERATOR: Final = "operator"
"""The actor of commands that run on the server's machine."""


class Entry(NamedTuple):
    """An entry. `actor` is the id of a key or of a member, or one of the constants; `object` is an id, or empty."""

    account_id: str
    number: int
    time: str
    actor: str
    action: str
    object: str
    hash: bytes

    def as_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {**self._asdict(), "hash": self.hash.hex()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self | None:
        """The entry of JSON values, or None if they are none."""
        texts = [values.get(name) for name in cls._fields if name != "number"]
        number = values.get("number")
        if not isinstance(number, int) or not all(isinstance(text, str) for text in texts):
            return None
        try:
            return cls(**{**{name: values[name] for name in cls._fields}, "hash": bytes.fromhex(values["hash"])})
        except ValueError:
            return None

    def expected_hash(self, previous: bytes) -> bytes:
        """The hash of the entry after the one with the hash `previous`."""
        content = [*self[:-1], previous.hex()]
        return sha256(json.dumps(content, separators=(",", ":")).encode()).digest()


class Selection(NamedTuple):
    """Which entries of an account are read: at most `limit`, after the entry with the number `after` in this order."""

    limit: int
    after: int | None = None
    action: str | None = None
    since: datetime | None = None
    newest_first: bool = True


class AuditLog:
    """The audit log of all accounts in a database. Thread-safe, also across processes.

    `clock` returns Unix seconds. Every method raises DatabaseUnavailableError.
    """

    def __init__(self, database: RelationalDatabase, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def append(
        self, account_id: str, actor: str, action: Action, object_id: str = "", *, connection: Connection | None = None
    ) -> Entry:
        """Add an entry. With `connection` it is part of its transaction."""
        assert action in ACTIONS, action
        if connection is None:
            with self._database.transaction() as own:
                return self.append(account_id, actor, action, object_id, connection=own)
        self._database.lock(connection, f"audit {account_id}")
        last = connection.execute(
            select(AUDIT_LOG).where(AUDIT_LOG.c.account_id == account_id).order_by(AUDIT_LOG.c.number.desc()).limit(1)
        ).first()
        at = _text(datetime.fromtimestamp(self._clock(), UTC))
        number, previous = (last.number + 1, bytes(last.hash)) if last else (1, FIRST)
        entry = Entry(account_id, number, at, actor, action, object_id, b"")
        entry = entry._replace(hash=entry.expected_hash(previous))
        connection.execute(insert(AUDIT_LOG).values(entry._asdict()))
        return entry

    def entries(self, account_id: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Entries of an account, oldest first, from the number after `after`."""
        found = self._database.rows(
            select(AUDIT_LOG)
            .where(AUDIT_LOG.c.account_id == account_id, AUDIT_LOG.c.number > after)
            .order_by(AUDIT_LOG.c.number)
            .limit(limit)
        )
        return [_entry(row) for row in found]

    def all(self, account_id: str) -> Iterator[Entry]:
        """All entries of an account, oldest first, read in pages."""
        after = 0
        while page := self.entries(account_id, after=after):
            yield from page
            after = page[-1].number

    def page(self, account_id: str, selection: Selection) -> list[Entry]:
        """The selected entries of an account, in the order of the selection."""
        query = select(AUDIT_LOG).where(AUDIT_LOG.c.account_id == account_id)
        number = AUDIT_LOG.c.number
        if selection.after is not None:
            query = query.where(number < selection.after if selection.newest_first else number > selection.after)
        if selection.action is not None:
            query = query.where(AUDIT_LOG.c.action == selection.action)
        if selection.since is not None:
            query = query.where(AUDIT_LOG.c.time >= _text(selection.since))
        query = query.order_by(number.desc() if selection.newest_first else number).limit(selection.limit)
        return [_entry(row) for row in self._database.rows(query)]

    def head(self, account_id: str) -> Entry | None:
        """The last entry of an account."""
        return next(iter(self.page(account_id, Selection(limit=1))), None)

    def account_ids(self) -> Sequence[str]:
        """The accounts that have entries."""
        return [row.account_id for row in self._database.rows(select(AUDIT_LOG.c.account_id).distinct())]


def first_fault(entries: Iterable[Entry]) -> int | None:
    """The number of the first entry that was changed, or before which one is missing, or None.

    Entries at the end that were removed cannot be found: keep the last hash elsewhere and compare it.
    """
    previous = FIRST
    for expected, entry in enumerate(entries, start=1):
        if entry.number != expected or entry.hash != entry.expected_hash(previous):
            return expected
        previous = entry.hash
    return None


def _text(moment: datetime) -> str:
    """The text of a time, which sorts as the time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.account_id, row.number, row.time, row.actor, row.action, row.object, bytes(row.hash))
