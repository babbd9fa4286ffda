"""Accounts and API keys as stored."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

ID_PREFIX: Final = "key_"
_ID_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of events. Values that are not set are None. `usage_detail`: whether the opt-in fields are stored."""

    id: str
    email: str | None
    name: str | None
    company: str | None
    plan: str
    usage_detail: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Key:
    """A stored API key. `id` is derived from its hash; `prefix` is its first characters. A revoked key is kept."""

    id: str
    prefix: str
    account_id: str
    created_at: str
    revoked_at: str | None

    @staticmethod
    def id_of(key: str) -> str:
        """The id of an API key."""
        return key_id(hash_of(key))


def hash_of(key: str) -> bytes:
    """What is stored of an API key."""
    return sha256(key.encode()).digest()


def key_id(hashed: bytes) -> str:
    """The id of a key, from its hash."""
    return ID_PREFIX + hashed.hex()[:_ID_DIGITS]
