"""Accounts, API keys and members as stored."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from infraprism.backend.accounts import plans
from infraprism.backend.accounts.permissions import SCOPES, Role, Scope

ID_PREFIX: Final = "key_"
_ID_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Account:
    """An organisation, the owner of events. Values that are not set are None.

    `usage_detail`: whether the opt-in fields are stored. `time_zone`: the IANA name of the zone of its reports.
    `requests_per_minute` and `retention_days` are the own limits of an enterprise account. `region`: which server has
    its data (regions.py).
    """

    id: str
    company: str | None
    plan: str
    usage_detail: bool
    created_at: str
    time_zone: str = "UTC"
    requests_per_minute: int | None = None
    retention_days: int | None = None
    region: str | None = None

    @property
    def limits(self) -> plans.Plan:
        """The limits of the plan, or the own limits of an enterprise account."""
        return plans.limits(self.plan, self.requests_per_minute, self.retention_days)


@dataclass(frozen=True, slots=True)
class Key:
    """A stored API key. `id` is derived from its hash; `prefix` is its first characters. A revoked key is kept.

    `last_used_on` is a day in UTC, or None. A key that was rotated is valid until `expires_at`.
    """

    id: str
    prefix: str
    account_id: str
    created_at: str
    revoked_at: str | None
    name: str | None = None
    scopes: frozenset[Scope] = frozenset(SCOPES)
    last_used_on: str | None = None
    expires_at: str | None = None

    @property
    def scope_names(self) -> list[Scope]:
        """The scopes in the order of the table."""
        return [scope for scope in SCOPES if scope in self.scopes]

    @staticmethod
    def id_of(key: str) -> str:
        """The id of an API key."""
        return key_id(hash_of(key))


@dataclass(frozen=True, slots=True)
class AcceptedKey:
    """A key that a request may use, with its account. `last_used_day` is in days since 1970, 0 before the first use."""

    account: Account
    id: str
    scopes: frozenset[Scope]
    expires_at: str | None
    last_used_day: int


@dataclass(frozen=True, slots=True)
class Member:
    """A person who can log in. `has_password` is False until an invitation is accepted."""

    id: str
    account_id: str
    email: str
    name: str | None
    role: Role
    has_password: bool
    email_verified_at: str | None


def hash_of(key: str) -> bytes:
    """What is stored of an API key, or of the token of a link or a session. All of them are random."""
    return sha256(key.encode("utf-8", "replace")).digest()


def key_id(hashed: bytes) -> str:
    """The id of a key, from its hash."""
    return short_id(ID_PREFIX, hashed)


def short_id(prefix: str, hashed: bytes) -> str:
    """An id that names a secret and does not contain it."""
    return prefix + hashed.hex()[:_ID_DIGITS]
