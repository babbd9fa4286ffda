"""Who may do what: the scopes of keys, the roles of members, and the principal that changes something."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

from infraprism.backend.accounts.errors import RefusedError

Scope = Literal["ingest", "read", "admin"]
Role = Literal["owner", "admin", "viewer"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""`ingest` sends events, `read` reads them and their sums, `admin` changes the account and its data. None includes
another."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
OWNER: Final[Role] = "owner"
ADMIN: Final[Role] = "admin"
VIEWER: Final[Role] = "viewer"
DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("ingest", "read")
"""The scopes of a key that is created without a list of them by the REST API or the command line."""
_ROLE_SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    OWNER: frozenset(SCOPES),
    ADMIN: frozenset(SCOPES),
    VIEWER: frozenset({"read"}),
}


class Principal(NamedTuple):
    """Who makes a change: a key, a member, or the operator of the server. `id` is written to the audit log."""

    id: str
    role: Role
    scopes: frozenset[Scope]

    def require_admin(self) -> None:
        """Raises RefusedError unless the principal may change the account."""
        if self.role == VIEWER or "admin" not in self.scopes:
            raise RefusedError("forbidden", "a viewer cannot change the account")

    def require_power_over(self, role: Role) -> None:
        """Raises RefusedError unless the principal may create, change or remove a member with this role."""
        self.require_admin()
        if role == OWNER and self.role != OWNER:
            raise RefusedError("forbidden", "only an owner can add, change or remove an owner")


def of_key(key_id: str, scopes: Iterable[Scope]) -> Principal:
    """A key. With the scope `admin` it acts as an admin, never as an owner."""
    kept = frozenset(scopes)
    return Principal(key_id, ADMIN if "admin" in kept else VIEWER, kept)


def of_member(member_id: str, role: Role) -> Principal:
    """A member."""
    return Principal(member_id, role, _ROLE_SCOPES[role])


def operator() -> Principal:
    """Who runs commands on the data directory. Such a command can read and write everything anyway."""
    return Principal("operator", OWNER, frozenset(SCOPES))


def scopes_of(text: str) -> frozenset[Scope]:
    """The scopes of a stored text. Words that are no scope are ignored: they permit nothing."""
    words = set(text.split())
    return frozenset(scope for scope in SCOPES if scope in words)


def scopes_text(scopes: Iterable[Scope]) -> str:
    """The text that is stored for scopes. Raises RefusedError for an unknown scope, or none."""
    given = set(scopes)
    if not given or not given <= set(SCOPES):
        raise RefusedError("invalid", f"scopes: one or more of {', '.join(SCOPES)}")
    return " ".join(scope for scope in SCOPES if scope in given)
