"""Where a long read goes on: after the last event that was read, wherever newer ones have arrived since."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import NamedTuple, Self

from infraprism.backend.api.errors import ApiError


class Cursor(NamedTuple):
    """The last event read, and the place and total that the first page told."""

    timestamp_ms: int
    id_hex: str
    place: int
    total: int
    filters: str

    def text(self) -> str:
        """The cursor as callers get it; opaque."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, filters: str) -> Self:
        """A cursor from its text, for the same filters. Raises ApiError."""
        try:
            timestamp_ms, id_hex, place, total, of = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            found = cls(int(timestamp_ms), bytes.fromhex(id_hex).hex(), int(place), int(total), str(of))
        except (ValueError, TypeError, OverflowError, RecursionError):
            found = None
        if found is None or of != filters or len(found.id_hex) != 32 or not 0 <= found.timestamp_ms < 2**53:  # noqa: PLR2004
            raise ApiError(400, "invalid_parameter", "cursor: the next_cursor of a page with the same filters")
        return found


def fingerprint(*parts: str) -> str:
    """What a cursor is bound to."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]
