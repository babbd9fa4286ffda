"""Pagination cursors: the position after the last event that was read, stable while newer events arrive."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import NamedTuple, Self

from infraprism.backend.api.errors import ApiError


class Cursor(NamedTuple):
    """The last event read, its offset, the total of the first page, and the fingerprint of the filters."""

    timestamp_ms: int
    id_hex: str
    offset: int
    total: int
    filters: str

    def text(self) -> str:
        """The cursor as an opaque string."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, filters: str) -> Self:
        """Parse a cursor. Raises ApiError if it is invalid or belongs to other filters."""
        try:
            timestamp_ms, id_hex, offset, total, of = json.loads(
                base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            )
            found = cls(int(timestamp_ms), bytes.fromhex(id_hex).hex(), int(offset), int(total), str(of))
        except (ValueError, TypeError, OverflowError, RecursionError):
            found = None
        if found is None or of != filters or len(found.id_hex) != 32 or not 0 <= found.timestamp_ms < 2**53:  # noqa: PLR2004
            raise ApiError(400, "invalid_parameter", "cursor: the next_cursor of a page with the same filters")
        return found


def fingerprint(*parts: str) -> str:
    """A hash of the account and filters that a cursor is valid for."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]
