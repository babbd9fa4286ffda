"""The members of an account, and what each role may change."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from infraprism.backend.accounts import people
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.permissions import OWNER, ROLES, Principal, Role
from infraprism.backend.accounts.records import Member
from infraprism.backend.accounts.tables import MEMBERS
from infraprism.backend.audit.actions import Action
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.relational.database import RelationalDatabase

_ID: Final = re.compile(r"mem_[0-9a-f]{16}")
MAX_MEMBERS: Final = 1000
"""Of one account."""


class Members:
    """The members in a database. Every change is recorded in the audit log, in its transaction.

    Every method raises DatabaseUnavailableError, and every change RefusedError.
    """

    def __init__(self, database: RelationalDatabase, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def all(self, account_id: str) -> list[Member]:
        """The members of an account, by email."""
        rows = self._database.rows(select(MEMBERS).where(MEMBERS.c.account_id == account_id).order_by(MEMBERS.c.email))
        return [member_of(row) for row in rows]

    def find(self, account_id: str, member_id: str) -> Member:
        """A member of an account. Raises RefusedError."""
        return _only(self._database.rows(_query(account_id, member_id)))

    def by_id(self, member_id: str) -> Member | None:
        """The member with an id."""
        rows = self._database.rows(select(MEMBERS).where(MEMBERS.c.id == member_id))
        return member_of(rows[0]) if rows else None

    def with_hash(self, email: str) -> tuple[Member, str | None] | None:
        """The member with an email, as it is stored, and the hash of the password."""
        rows = self._database.rows(select(MEMBERS).where(MEMBERS.c.email == email))
        return (member_of(rows[0]), rows[0].password_hash) if rows else None

    def add(self, account_id: str, principal: Principal, *, email: str, name: str | None, role: Role) -> Member:
        """Add a member without a password."""
        with self._database.transaction() as connection:
            principal.require_power_over(_role(role))
            return self.add_in(connection, account_id, principal.id, email=email, name=name, role=role)

    def add_in(
        self, connection: Connection, account_id: str, actor: str, *, email: str, name: str | None, role: Role
    ) -> Member:
        """Add a member in a transaction, on behalf of `actor`, who may do that."""
        member = Member(
            f"mem_{secrets.token_hex(8)}",
            account_id,
            people.email(email),
            None if name is None else people.name(name),
            role,
            has_password=False,
            email_verified_at=None,
        )
        self._database.lock(connection, "emails of members")
        if connection.execute(select(MEMBERS.c.id).where(MEMBERS.c.email == member.email)).first():
            raise RefusedError("conflict", "email: a member has this address already")
        count = select(func.count()).select_from(MEMBERS).where(MEMBERS.c.account_id == account_id)
        if connection.execute(count).scalar_one() >= MAX_MEMBERS:
            raise RefusedError("conflict", f"an account has at most {MAX_MEMBERS} members")
        connection.execute(
            insert(MEMBERS).values(
                id=member.id, account_id=account_id, email=member.email, name=member.name, role=member.role
            )
        )
        self._audit.append(account_id, actor, "member.added", member.id, connection=connection)
        return member

    def change(
        self,
        account_id: str,
        principal: Principal,
        member_id: str,
        *,
        name: str | None = None,
        role: Role | None = None,
    ) -> Member:
        """Change the name, the role, or both. A member may change the own name. The last owner keeps the role."""
        with self._database.transaction() as connection:
            self._lock(connection, account_id)
            member = self._found(connection, account_id, member_id)
            if role is not None or principal.id != member_id:
                principal.require_power_over(member.role)
            if name is not None:
                self._write(connection, principal, member, "setting.changed", name=people.name(name))
            if role is not None and role != member.role:
                principal.require_power_over(_role(role))
                self._keep_an_owner(connection, member)
                self._write(connection, principal, member, "member.role_changed", role=role)
            return self._found(connection, account_id, member_id)

    def remove(self, account_id: str, principal: Principal, member_id: str) -> Member:
        """Remove a member with all sessions and links. The last owner stays."""
        with self._database.transaction() as connection:
            self._lock(connection, account_id)
            member = self._found(connection, account_id, member_id)
            principal.require_power_over(member.role)
            self._keep_an_owner(connection, member)
            connection.execute(delete(MEMBERS).where(MEMBERS.c.id == member_id))
            self._audit.append(account_id, principal.id, "member.removed", member_id, connection=connection)
            return member

    def _write(
        self, connection: Connection, principal: Principal, member: Member, action: Action, **values: str
    ) -> None:
        connection.execute(update(MEMBERS).where(MEMBERS.c.id == member.id).values(**values))
        self._audit.append(member.account_id, principal.id, action, member.id, connection=connection)

    def _lock(self, connection: Connection, account_id: str) -> None:
        """Two owners must not remove each other at the same time."""
        self._database.lock(connection, f"members {account_id}")

    @staticmethod
    def _keep_an_owner(connection: Connection, member: Member) -> None:
        if member.role != OWNER:
            return
        owners = connection.execute(
            select(MEMBERS.c.id).where(MEMBERS.c.account_id == member.account_id, MEMBERS.c.role == OWNER)
        ).all()
        if len(owners) == 1:
            raise RefusedError("conflict", "the account has no other owner: make another member an owner first")

    @staticmethod
    def _found(connection: Connection, account_id: str, member_id: str) -> Member:
        return _only(connection.execute(_query(account_id, member_id)).all())


def _query(account_id: str, member_id: str) -> Select[Any]:
    """Raises RefusedError for a text that is no id, and may have characters that a database cannot compare."""
    if not _ID.fullmatch(member_id):
        raise _not_found()
    return select(MEMBERS).where(MEMBERS.c.id == member_id, MEMBERS.c.account_id == account_id)


def _only(rows: Sequence[Row[Any]]) -> Member:
    if not rows:
        raise _not_found()
    return member_of(rows[0])


def _not_found() -> RefusedError:
    return RefusedError("not_found", "no such member in this account")


def member_of(row: Row[Any]) -> Member:
    """The member of a row of the table."""
    return Member(
        row.id,
        row.account_id,
        row.email,
        row.name,
        row.role,
        has_password=row.password_hash is not None,
        email_verified_at=row.email_verified_at,
    )


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise RefusedError("invalid", f"role: one of {', '.join(ROLES)}")
