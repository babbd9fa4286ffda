"""Pagination cursors: the position after the last event that was read, stable while newer events arrive."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Final, NamedTuple, Self

from infraprism.backend.api.errors import ApiError

_SIGNATURE_BYTES: Final = 16


class Cursor(NamedTuple):
    """The last event read, its offset, the total of the first page, and the fingerprint of the filters."""

    timestamp_ms: int
    id_hex: str
    offset: int
    total: int
    filters: str

    def text(self, key: bytes) -> str:
        """The cursor as an opaque string, signed with `key`."""
        content = json.dumps(self).encode()
        return base64.urlsafe_b64encode(_signature(content, key) + content).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, filters: str, key: bytes) -> Self:
        """Parse a cursor. Raises ApiError if it was not signed with `key`, or belongs to other filters."""
        try:
            decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            decoded = b""
        signature, content = decoded[:_SIGNATURE_BYTES], decoded[_SIGNATURE_BYTES:]
        if hmac.compare_digest(signature, _signature(content, key)):
            found = cls(*json.loads(content))
            if found.filters == filters:
                return found
        raise ApiError(400, "invalid_parameter", "cursor: the next_cursor of a page with the same filters")


def _signature(content: bytes, key: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")[:_SIGNATURE_BYTES]


def fingerprint(*parts: str) -> str:
    """A hash of the account and filters that a cursor is valid for."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]
