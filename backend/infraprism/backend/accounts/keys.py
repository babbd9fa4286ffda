"""Changes of API keys, each with its entry in the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, update

from infraprism.backend.accounts import people, times
from infraprism.backend.accounts.accounts import Accounts, new_key, prefix_of
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.permissions import Principal, Scope, scopes_of, scopes_text
from infraprism.backend.accounts.records import Key, hash_of, key_id
from infraprism.backend.accounts.stored_accounts import hashed_keys, insert_key
from infraprism.backend.accounts.tables import KEYS
from infraprism.backend.audit.audit_log import AuditLog

MAX_KEYS: Final = 500
"""Valid keys of one account."""
MAX_OVERLAP_S: Final = 30 * times.DAY_S
"""How long a rotated key may stay valid."""


class Keys:
    """The keys of accounts. Every method raises DatabaseUnavailableError and RefusedError.

    The processes that have cached a key apply a change within two seconds.
    """

    def __init__(self, accounts: Accounts, audit: AuditLog) -> None:
        self._accounts = accounts
        self._database = accounts.database
        self._audit = audit

    def all(self, account_id: str) -> list[Key]:
        """The keys of an account, oldest first, with the revoked ones."""
        return self._accounts.keys(account_id)

    def find(self, account_id: str, id_: str) -> Key:
        """A key of an account."""
        with self._database.transaction() as connection:
            return self._found(connection, account_id, id_)[1]

    def create(
        self, account_id: str, principal: Principal, *, name: str | None, scopes: Iterable[Scope]
    ) -> tuple[str, Key]:
        """A new key, which is not stored and cannot be read again, and its record."""
        principal.require_admin()
        kept = None if name is None else people.name(name)
        wanted = scopes_of(scopes_text(scopes))
        with self._database.transaction() as connection:
            self._database.lock(connection, f"keys {account_id}")
            valid = [key for _, key in hashed_keys(connection, account_id) if self._is_valid(key)]
            if len(valid) >= MAX_KEYS:
                raise RefusedError("conflict", f"an account has at most {MAX_KEYS} valid keys: revoke one")
            created = self._insert(connection, account_id, principal, kept, wanted)
            self._audit.append(account_id, principal.id, "key.created", created[1].id, connection=connection)
        self._accounts.forget()
        return created

    def rename(self, account_id: str, principal: Principal, id_: str, name: str) -> Key:
        """Change the name of a key."""
        principal.require_admin()
        with self._database.transaction() as connection:
            hashed, _ = self._found(connection, account_id, id_)
            connection.execute(update(KEYS).where(KEYS.c.hash == hashed).values(name=people.name(name)))
            self._audit.append(account_id, principal.id, "setting.changed", id_, connection=connection)
            return self._found(connection, account_id, id_)[1]

    def rotate(self, account_id: str, principal: Principal, id_: str, *, overlap_s: int = 0) -> tuple[str, Key]:
        """A new key with the name and the scopes of a valid key, which stays valid for `overlap_s` seconds."""
        principal.require_admin()
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise RefusedError("invalid", f"overlap_s: 0 to {MAX_OVERLAP_S} seconds")
        now = self._accounts.clock()
        end = {"expires_at": times.text(now + overlap_s)} if overlap_s else {"revoked_at": times.text(now)}
        with self._database.transaction() as connection:
            self._database.lock(connection, f"keys {account_id}")
            hashed, old = self._found(connection, account_id, id_)
            if old.revoked_at is not None or old.expires_at is not None:
                raise RefusedError("conflict", "the key was revoked or rotated already")
            connection.execute(update(KEYS).where(KEYS.c.hash == hashed).values(**end))
            created = self._insert(connection, account_id, principal, old.name, old.scopes)
            self._audit.append(account_id, principal.id, "key.rotated", id_, connection=connection)
            self._audit.append(account_id, principal.id, "key.created", created[1].id, connection=connection)
        self._accounts.forget()
        return created

    def revoke(self, account_id: str, principal: Principal, id_: str) -> Key:
        """Revoke a key. A key that is revoked already is refused."""
        principal.require_admin()
        with self._database.transaction() as connection:
            self._database.lock(connection, f"keys {account_id}")
            hashed, key = self._found(connection, account_id, id_)
            if key.revoked_at is not None:
                raise RefusedError("conflict", "the key is revoked already")
            connection.execute(update(KEYS).where(KEYS.c.hash == hashed).values(revoked_at=self._accounts.now()))
            self._audit.append(account_id, principal.id, "key.revoked", id_, connection=connection)
            revoked = self._found(connection, account_id, id_)[1]
        self._accounts.forget()
        return revoked

    def _is_valid(self, key: Key) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._accounts.now())

    def _insert(
        self, connection: Connection, account_id: str, principal: Principal, name: str | None, scopes: frozenset[Scope]
    ) -> tuple[str, Key]:
        if missing := scopes - principal.scopes:
            lacking = " and ".join(sorted(missing))
            raise RefusedError(
                "forbidden", f"the key lacks the scope {lacking}: a new key cannot have more than its own"
            )
        text = new_key()
        hashed = hash_of(text)
        key = Key(key_id(hashed), prefix_of(text), account_id, self._accounts.now(), None, name, scopes)
        insert_key(connection, hashed, key)
        return text, key

    @staticmethod
    def _found(connection: Connection, account_id: str, id_: str) -> tuple[bytes, Key]:
        for hashed, key in hashed_keys(connection, account_id):
            if key.id == id_:
                return hashed, key
        raise RefusedError("not_found", "no such key in this account")
