"""Receipts of deletions, in a chain per account: each has the hash of the one before it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from infraprism.backend.deletions.tables import RECEIPTS
from infraprism.backend.relational.database import RelationalDatabase

FIRST: Final = "0" * 64
"""The hash before the first receipt."""
HASH: Final = "hash"


class BrokenReceiptError(ValueError):
    """A receipt is not as it was issued. The message says which and why."""


class Receipts:
    """The receipts of all accounts. Every method raises DatabaseUnavailableError."""

    def __init__(self, database: RelationalDatabase) -> None:
        self._database = database

    def issue(
        self, connection: Connection, account_id: str, deletion_id: str, content: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add a receipt to the chain of an account, within a transaction."""
        self._database.lock(connection, f"receipts {account_id}")
        last = connection.execute(
            select(RECEIPTS.c.number, RECEIPTS.c.hash)
            .where(RECEIPTS.c.account_id == account_id)
            .order_by(RECEIPTS.c.number.desc())
            .limit(1)
        ).first()
        number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
        receipt: dict[str, Any] = {
            "id": f"rcp_{secrets.token_hex(12)}",
            "number": number,
            "account_id": account_id,
            "deletion_id": deletion_id,
            **content,
            "previous_hash": previous,
        }
        receipt[HASH] = hash_of(receipt)
        connection.execute(
            insert(RECEIPTS).values(
                account_id=account_id,
                number=number,
                id=receipt["id"],
                deletion_id=deletion_id,
                content=json.dumps(receipt),
                hash=receipt[HASH],
            )
        )
        return receipt

    def all(self, account_id: str) -> list[dict[str, Any]]:
        """The receipts of an account, oldest first."""
        rows = self._database.rows(
            select(RECEIPTS.c.content).where(RECEIPTS.c.account_id == account_id).order_by(RECEIPTS.c.number)
        )
        return [json.loads(row.content) for row in rows]

    def find(self, account_id: str, receipt_id: str) -> dict[str, Any] | None:
        """A receipt of an account."""
        rows = self._database.rows(
            select(RECEIPTS.c.content).where(RECEIPTS.c.account_id == account_id, RECEIPTS.c.id == receipt_id)
        )
        return json.loads(rows[0].content) if rows else None

    def of_deletion(self, connection: Connection, deletion_id: str) -> dict[str, Any] | None:
        """The receipt of a deletion, within a transaction."""
        found = connection.execute(select(RECEIPTS.c.content).where(RECEIPTS.c.deletion_id == deletion_id)).scalar()
        return json.loads(found) if found else None

    def number(self, account_id: str) -> int:
        """The number of receipts of an account."""
        query = select(func.count()).select_from(RECEIPTS).where(RECEIPTS.c.account_id == account_id)
        return int(self._database.rows(query)[0][0])


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


def chain(receipts: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Receipts by account, in the order of their numbers."""
    accounts: dict[str, list[Mapping[str, Any]]] = {}
    for receipt in sorted(receipts, key=lambda one: int(one.get("number", 0))):
        accounts.setdefault(str(receipt.get("account_id")), []).append(receipt)
    return accounts
