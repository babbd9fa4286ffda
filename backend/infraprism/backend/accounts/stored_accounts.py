"""The statements that read and write accounts, keys and secrets."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, insert, or_, select, update

from infraprism.backend.accounts.permissions import Scope, scopes_of, scopes_text
from infraprism.backend.accounts.records import AcceptedKey, Account, Key, key_id
from infraprism.backend.accounts.tables import ACCOUNTS, KEYS, SECRETS
from infraprism.backend.relational.database import RelationalDatabase

_EPOCH: Final = date(1970, 1, 1)

_NOT_COPIED: Final = frozenset({"alembic_version", "jobs"})
"""A job refers to files of its server."""


class StoredAccounts(RelationalDatabase):
    """The accounts at a location (see RelationalDatabase)."""

    def secret(self, name: str, new: bytes) -> bytes:
        """The secret of a name; `new` if there is none yet."""
        self.insert_if_absent(SECRETS, name=name, value=new)
        ((value,),) = self.rows(select(SECRETS.c.value).where(SECRETS.c.name == name))
        return bytes(value)

    def is_empty(self) -> bool:
        """Whether there is no account."""
        return not self.rows(select(ACCOUNTS.c.id).limit(1))

    def add(self, account: Account) -> None:
        """Add an account."""
        values = {name: getattr(account, name) for name in Account.__slots__}
        self.run(insert(ACCOUNTS).values({**values, "usage_detail": int(account.usage_detail)}))

    def add_key(
        self, hashed: bytes, prefix: str, account_id: str, created_at: str, *, name: str | None, scopes: Iterable[Scope]
    ) -> None:
        """Add a key to an account. Raises RefusedError."""
        with self.transaction() as connection:
            insert_key(
                connection, hashed, Key(key_id(hashed), prefix, account_id, created_at, None, name, frozenset(scopes))
            )

    def all(self) -> list[Account]:
        """All accounts, oldest first."""
        return [account_of(row) for row in self.rows(select(ACCOUNTS).order_by(ACCOUNTS.c.created_at, ACCOUNTS.c.id))]

    def keys(self, account_id: str) -> list[Key]:
        """The keys of an account, oldest first."""
        return [key for _, key in _hashed(self.rows(_keys_of(account_id)))]

    def revoke(self, revoked: Key, revoked_at: str) -> None:
        """Revoke a key."""
        with self.transaction() as connection:
            hashes = [hashed for hashed, key in hashed_keys(connection, revoked.account_id) if key.id == revoked.id]
            connection.execute(
                update(KEYS).where(KEYS.c.hash.in_(hashes), KEYS.c.revoked_at.is_(None)).values(revoked_at=revoked_at)
            )

    def everything(self) -> list[tuple[Table, list[dict[str, Any]]]]:
        """All rows that another database needs, by table, in an order in which they can be added to it."""
        return [
            (table, [dict(zip(table.c.keys(), row, strict=True)) for row in self.rows(select(table))])
            for table in self.existing_tables()
            if table.name not in _NOT_COPIED
        ]

    def set_usage_detail(self, account_id: str, *, enabled: bool) -> None:
        """Set whether the opt-in fields are stored."""
        self.run(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(usage_detail=int(enabled)))

    def write_uses(self, days_by_hash: Iterable[tuple[bytes, str]]) -> None:
        """Write the days on which keys were used, unless the same or a later one is written."""
        with self.transaction() as connection:
            for hashed, day in days_by_hash:
                is_older = or_(KEYS.c.last_used_on.is_(None), KEYS.c.last_used_on < day)
                connection.execute(update(KEYS).where(KEYS.c.hash == hashed, is_older).values(last_used_on=day))

    def check(self, *, verify_file: bool) -> None:
        """Read a key, and verify the pages of a SQLite file on request."""
        if verify_file:
            self.verify_file()
        self.rows(select(KEYS.c.hash).join(ACCOUNTS, ACCOUNTS.c.id == KEYS.c.account_id).limit(1))

    def find(self, hashed: bytes) -> AcceptedKey | None:
        """A key that is not revoked, with its account. It may have expired."""
        rows = self.rows(
            select(ACCOUNTS, KEYS.c.hash, KEYS.c.scopes, KEYS.c.last_used_on, KEYS.c.expires_at)
            .join(KEYS, ACCOUNTS.c.id == KEYS.c.account_id)
            .where(KEYS.c.hash == hashed, KEYS.c.revoked_at.is_(None))
        )
        if not rows or not hmac.compare_digest(bytes(rows[0].hash), hashed):
            return None
        (row,) = rows
        used = (date.fromisoformat(row.last_used_on) - _EPOCH).days if row.last_used_on else 0
        return AcceptedKey(account_of(row), key_id(hashed), scopes_of(row.scopes), row.expires_at, used)


def insert_key(connection: Connection, hashed: bytes, key: Key) -> None:
    """Add a key. Raises RefusedError."""
    connection.execute(
        insert(KEYS).values(
            hash=hashed,
            prefix=key.prefix,
            account_id=key.account_id,
            created_at=key.created_at,
            name=key.name,
            scopes=scopes_text(key.scopes),
        )
    )


def hashed_keys(connection: Connection, account_id: str) -> Sequence[tuple[bytes, Key]]:
    """The keys of an account with their hashes, oldest first."""
    return _hashed(connection.execute(_keys_of(account_id)).all())


def _keys_of(account_id: str) -> Select[Any]:
    return select(KEYS).where(KEYS.c.account_id == account_id).order_by(KEYS.c.created_at, KEYS.c.hash)


def _hashed(rows: Sequence[Row[Any]]) -> Sequence[tuple[bytes, Key]]:
    return [(bytes(row.hash), _key(row)) for row in rows]


def _key(row: Row[Any]) -> Key:
    return Key(
        key_id(bytes(row.hash)),
        row.prefix,
        row.account_id,
        row.created_at,
        row.revoked_at,
        row.name,
        scopes_of(row.scopes),
        row.last_used_on,
        row.expires_at,
    )


def account_of(row: Row[Any]) -> Account:
    """The account of a row."""
    return Account(
        row.id,
        row.company,
        row.plan,
        bool(row.usage_detail),
        row.created_at,
        row.time_zone,
        row.requests_per_minute,
        row.retention_days,
        row.region,
    )
