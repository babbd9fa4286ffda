"""Verifies receipts of deletions. It needs no package of the server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

FIRST: Final = "0" * 64
"""The hash before the first receipt."""
HASH: Final = "hash"


class BrokenReceiptError(ValueError):
    """A receipt is not as it was issued. The message says which and why."""


def hash_of(receipt: Mapping[str, Any]) -> str:
    """The SHA-256 of a receipt as JSON with sorted keys and without spaces, without its hash."""
    found = {name: value for name, value in receipt.items() if name != HASH}
    return sha256(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify(receipts: Iterable[Mapping[str, Any]], *, is_whole_chain: bool = True) -> int:
    """Verify receipts, oldest first, and return their number. Raises BrokenReceiptError.

    With `is_whole_chain` they are all receipts of an account, without a gap.
    """
    previous, found = FIRST, list(receipts)
    for place, receipt in enumerate(found, 1):
        name = receipt.get("id", f"number {place}")
        if receipt.get(HASH) != hash_of(receipt):
            raise BrokenReceiptError(f"the receipt {name} was changed: its content has another hash")
        if is_whole_chain and (receipt.get("number") != place or receipt.get("previous_hash") != previous):
            raise BrokenReceiptError(
                f"the receipt {name} does not follow the one before it: one was changed or removed"
            )
        previous = str(receipt[HASH])
    return len(found)
