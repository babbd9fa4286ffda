"""Where a person proves who they are. A login by password is one implementation.

OIDC is another one: its evidence is the response of the provider, and `member_of` returns the member with the verified
email of the response. `Logins.open_session` follows, as after a password. SCIM attaches at `Members`: its requests
add, change and remove members with a Principal of their own key.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

from infraprism.backend.accounts.members import Members
from infraprism.backend.accounts.passwords import Passwords
from infraprism.backend.accounts.records import Member

Evidence_contra = TypeVar("Evidence_contra", contravariant=True)


class IdentityProvider(Protocol[Evidence_contra]):
    """Finds the member that evidence belongs to."""

    def member_of(self, evidence: Evidence_contra) -> Member | None:
        """The member, or None. Takes as long for an unknown person as for a known one."""
        ...


class EmailAndPassword(NamedTuple):
    """The evidence of a login by password. The email is normalised."""

    email: str
    password: str


class PasswordIdentity:
    """Compares the password with the stored hash. Raises DatabaseUnavailableError."""

    def __init__(self, members: Members, passwords: Passwords) -> None:
        self._members = members
        self._passwords = passwords

    def member_of(self, evidence: EmailAndPassword) -> Member | None:
        """See IdentityProvider."""
        member, stored = self._members.with_hash(evidence.email) or (None, None)
        return member if self._passwords.is_correct(evidence.password, stored) else None
