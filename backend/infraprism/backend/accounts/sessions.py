"""Sessions of logged-in members: only the hash of the token is stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from infraprism.backend.accounts import times
from infraprism.backend.accounts.members import member_of
from infraprism.backend.accounts.records import Member, hash_of, short_id
from infraprism.backend.accounts.tables import MEMBERS, SESSIONS
from infraprism.backend.relational.database import RelationalDatabase

LIFETIME_S: Final = 7 * times.DAY_S
"""From the login, whatever the session is used for."""
IDLE_S: Final = 12 * 3600
"""Without a request."""
_WRITE_AFTER_S: Final = 60
_ID_PREFIX: Final = "ses_"
_TOKEN_BYTES: Final = 32


class Session(NamedTuple):
    """A session. `id` names it and does not contain its token."""

    id: str
    member_id: str
    created_at: str
    last_used_at: str


class Sessions:
    """The sessions in a database. `clock` returns Unix seconds. Every method raises DatabaseUnavailableError."""

    def __init__(self, database: RelationalDatabase, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def create(self, connection: Connection, member_id: str, *, replaces: str | None = None) -> tuple[str, Session]:
        """The token of a new session, and the session. `replaces` is the token of the session that it replaces."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self._clock()
        ended = self._has_ended(now)
        if replaces:
            ended |= SESSIONS.c.hash == hash_of(replaces)
        connection.execute(delete(SESSIONS).where(ended))
        at = times.text(now)
        connection.execute(
            insert(SESSIONS).values(hash=hash_of(token), member_id=member_id, created_at=at, last_used_at=at)
        )
        return token, Session(short_id(_ID_PREFIX, hash_of(token)), member_id, at, at)

    def find(self, token: str) -> tuple[Session, Member] | None:
        """A session that has not ended, and its member. The time of its use is written once a minute."""
        hashed, now = hash_of(token), self._clock()
        rows = self._database.rows(
            select(MEMBERS, SESSIONS.c.created_at, SESSIONS.c.last_used_at)
            .join(SESSIONS, SESSIONS.c.member_id == MEMBERS.c.id)
            .where(SESSIONS.c.hash == hashed, ~self._has_ended(now))
        )
        if not rows:
            return None
        (row,) = rows
        if row.last_used_at <= times.text(now - _WRITE_AFTER_S):
            self._database.run(update(SESSIONS).where(SESSIONS.c.hash == hashed).values(last_used_at=times.text(now)))
        return Session(short_id(_ID_PREFIX, hashed), row.id, row.created_at, row.last_used_at), member_of(row)

    def all(self, member_id: str) -> list[Session]:
        """The sessions of a member that have not ended, oldest first."""
        return [
            Session(short_id(_ID_PREFIX, bytes(row.hash)), row.member_id, row.created_at, row.last_used_at)
            for row in self._rows(member_id)
        ]

    def revoke(self, connection: Connection, member_id: str, session_id: str) -> bool:
        """End a session of a member. Returns whether there was one."""
        hashes = [bytes(row.hash) for row in self._rows(member_id)]
        named = [hashed for hashed in hashes if short_id(_ID_PREFIX, hashed) == session_id]
        return connection.execute(delete(SESSIONS).where(SESSIONS.c.hash.in_(named))).rowcount == 1

    def revoke_all(self, connection: Connection, member_id: str) -> int:
        """End all sessions of a member. Returns their number."""
        return connection.execute(delete(SESSIONS).where(SESSIONS.c.member_id == member_id)).rowcount

    def _rows(self, member_id: str) -> Sequence[Any]:
        return self._database.rows(
            select(SESSIONS)
            .where(SESSIONS.c.member_id == member_id, ~self._has_ended(self._clock()))
            .order_by(SESSIONS.c.created_at, SESSIONS.c.hash)
        )

    @staticmethod
    def _has_ended(now: float) -> Any:
        return (SESSIONS.c.created_at <= times.text(now - LIFETIME_S)) | (
            SESSIONS.c.last_used_at <= times.text(now - IDLE_S)
        )
