"""One-time links: only the hash of the token is stored, and the row is deleted when the link is used."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select

from infraprism.backend.accounts import times
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.records import hash_of
from infraprism.backend.accounts.tables import LINKS
from infraprism.backend.relational.database import RelationalDatabase

Kind = Literal["setup", "accept-invitation", "verify-email", "reset-password"]
_HOUR_S: Final = 3600
LIFETIME_S: Final[dict[Kind, int]] = {
    "setup": 24 * _HOUR_S,
    "accept-invitation": 7 * 24 * _HOUR_S,
    "verify-email": 24 * _HOUR_S,
    "reset-password": _HOUR_S,
}
_TOKEN_BYTES: Final = 32


class Link(NamedTuple):
    """What a link is for. `is_mailed`: the link proves that its user reads the mail of the member."""

    kind: Kind
    account_id: str
    member_id: str | None
    is_mailed: bool


class Links:
    """The links in a database. `clock` returns Unix seconds. Every method raises DatabaseUnavailableError."""

    def __init__(self, database: RelationalDatabase, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def create(
        self,
        connection: Connection,
        kind: Kind,
        account_id: str,
        member_id: str | None = None,
        *,
        is_mailed: bool = False,
        token: str | None = None,
    ) -> str:
        """The token of a new link. An unused link of the same kind, for the same member, is no longer valid."""
        token = token or new_token()
        now = self._clock()
        same = (LINKS.c.kind == kind) & (LINKS.c.account_id == account_id) & (LINKS.c.member_id == member_id)
        connection.execute(delete(LINKS).where(same | (LINKS.c.expires_at <= times.text(now))))
        connection.execute(
            insert(LINKS).values(
                hash=hash_of(token),
                kind=kind,
                account_id=account_id,
                member_id=member_id,
                expires_at=times.text(now + LIFETIME_S[kind]),
                is_mailed=int(is_mailed),
            )
        )
        return token

    def find(self, kind: Kind, token: str) -> Link:
        """A valid link, which stays valid. Raises RefusedError."""
        rows = self._database.rows(select(LINKS).where(self._is_valid(kind, token)))
        return _link(rows[0] if rows else None)

    def is_valid(self, kind: Kind, token: str) -> bool:
        """Whether a link can be used."""
        return bool(self._database.rows(select(LINKS.c.kind).where(self._is_valid(kind, token))))

    def use(self, connection: Connection, kind: Kind, token: str) -> Link:
        """Use a link. If the transaction is discarded, it stays valid. Raises RefusedError."""
        is_valid = self._is_valid(kind, token)
        link = _link(connection.execute(select(LINKS).where(is_valid)).first())
        # Of two transactions at the same time only one deletes the row.
        if connection.execute(delete(LINKS).where(is_valid)).rowcount != 1:
            raise _invalid()
        return link

    @staticmethod
    def invalidate(connection: Connection, member_id: str, kinds: Sequence[Kind]) -> None:
        """Make the links of a member invalid."""
        connection.execute(delete(LINKS).where(LINKS.c.member_id == member_id, LINKS.c.kind.in_(kinds)))

    def _is_valid(self, kind: Kind, token: str) -> Any:
        return (
            (LINKS.c.hash == hash_of(token)) & (LINKS.c.kind == kind) & (LINKS.c.expires_at > times.text(self._clock()))
        )


def new_token() -> str:
    """A random token of a link."""
    return secrets.token_hex(_TOKEN_BYTES)


def address(base_url: str, kind: Kind, token: str) -> str:
    """The link as a URL."""
    return f"{base_url.rstrip('/')}/auth/{kind}?token={token}"


def _link(row: Row[Any] | None) -> Link:
    if row is None:
        raise _invalid()
    return Link(row.kind, row.account_id, row.member_id, bool(row.is_mailed))


def _invalid() -> RefusedError:
    return RefusedError("invalid_link", "the link was used, has expired, or was replaced: ask for a new one")
