"""The statements that read and write accounts, keys and secrets."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Table, insert, select, update

from infraprism.backend.accounts.records import Account, Key, key_id
from infraprism.backend.accounts.tables import ACCOUNTS, KEYS, SECRETS
from infraprism.backend.relational.database import RelationalDatabase


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

    def add_key(self, hashed: bytes, prefix: str, account_id: str, created_at: str) -> None:
        """Add a key to an account."""
        self.run(insert(KEYS).values(hash=hashed, prefix=prefix, account_id=account_id, created_at=created_at))

    def all(self) -> list[Account]:
        """All accounts, oldest first."""
        return [_account(row) for row in self.rows(select(ACCOUNTS).order_by(ACCOUNTS.c.created_at, ACCOUNTS.c.id))]

    def keys(self, account_id: str) -> list[Key]:
        """The keys of an account, oldest first."""
        return [key for _, key in self._keys(account_id)]

    def _keys(self, account_id: str) -> Sequence[tuple[bytes, Key]]:
        rows = self.rows(select(KEYS).where(KEYS.c.account_id == account_id).order_by(KEYS.c.created_at, KEYS.c.hash))
        return [
            (bytes(row.hash), Key(key_id(bytes(row.hash)), row.prefix, row.account_id, row.created_at, row.revoked_at))
            for row in rows
        ]

    def revoke(self, revoked: Key, revoked_at: str) -> None:
        """Revoke a key."""
        hashes = [hashed for hashed, key in self._keys(revoked.account_id) if key.id == revoked.id]
        self.run(update(KEYS).where(KEYS.c.hash.in_(hashes), KEYS.c.revoked_at.is_(None)).values(revoked_at=revoked_at))

    def everything(self) -> list[tuple[Table, list[dict[str, Any]]]]:
        """All rows, by table, in an order in which they can be added to another database."""
        return [
            (table, [dict(zip(table.c.keys(), row, strict=True)) for row in self.rows(select(table))])
            for table in (ACCOUNTS, KEYS, SECRETS)
        ]

    def set_usage_detail(self, account_id: str, *, enabled: bool) -> None:
        """Set whether the opt-in fields are stored."""
        self.run(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(usage_detail=int(enabled)))

    def check(self, *, verify_file: bool) -> None:
        """Read a key, and verify the pages of a SQLite file on request."""
        if verify_file:
            self.verify_file()
        self.rows(select(KEYS.c.hash).join(ACCOUNTS, ACCOUNTS.c.id == KEYS.c.account_id).limit(1))

    def find(self, hashed: bytes) -> Account | None:
        """The account of a key that is not revoked."""
        rows = self.rows(
            select(ACCOUNTS, KEYS.c.hash)
            .join(KEYS, ACCOUNTS.c.id == KEYS.c.account_id)
            .where(KEYS.c.hash == hashed, KEYS.c.revoked_at.is_(None))
        )
        if not rows or not hmac.compare_digest(bytes(rows[0].hash), hashed):
            return None
        return _account(rows[0])


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.email, row.name, row.company, row.plan, bool(row.usage_detail), row.created_at)
