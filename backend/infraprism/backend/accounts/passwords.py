"""Passwords: which are accepted, and their bcrypt hashes."""

from __future__ import annotations

import unicodedata
from typing import Final

import bcrypt

from infraprism.backend.accounts.errors import RefusedError

MIN_LENGTH: Final = 12
"""Characters."""
MAX_BYTES: Final = 72
"""bcrypt reads no more. A longer password is refused instead of hashed first: what is stored is a plain bcrypt hash."""
_MIN_DIFFERENT: Final = 5
_ROUNDS: Final = 12
_OF_NO_PASSWORD: Final = "." * 53
"""The salt and the hash that passwords of unknown members are compared with."""


class Passwords:
    """Hashes and verifies passwords with 2 ** `rounds` rounds.

    Each takes about a quarter of a second: never on the event loop.
    """

    def __init__(self, rounds: int = _ROUNDS) -> None:
        self._rounds = rounds
        self._unknown = f"$2b${rounds:02}${_OF_NO_PASSWORD}"

    def hashed(self, password: str) -> str:
        """The hash of a password that `check` accepts."""
        return bcrypt.hashpw(_encoded(password) or b"", bcrypt.gensalt(self._rounds)).decode("ascii")

    def is_correct(self, password: str, stored: str | None) -> bool:
        """Whether a password has this hash. Without a hash it takes as long, and the result is False."""
        encoded = _encoded(password)
        is_equal = bcrypt.checkpw(encoded or b"", (stored or self._unknown).encode("ascii"))
        return is_equal and encoded is not None and stored is not None


def check(password: str, email: str) -> None:
    """Raises RefusedError for a password that must not be set."""
    if len(password) < MIN_LENGTH:
        raise RefusedError("invalid", f"password: at least {MIN_LENGTH} characters")
    if _encoded(password) is None:
        raise RefusedError("invalid", f"password: at most {MAX_BYTES} bytes in UTF-8, without null characters")
    if len(set(password)) < _MIN_DIFFERENT or password.lower() == email:
        raise RefusedError("invalid", "password: easy to guess, choose another one")


def _encoded(password: str) -> bytes | None:
    """The bytes to hash, or None if bcrypt cannot hash all of them. A text has the same bytes on every keyboard."""
    try:
        encoded = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return encoded if 0 < len(encoded) <= MAX_BYTES and b"\0" not in encoded else None
