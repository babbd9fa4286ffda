"""Receipts of deletions, in a chain per account: each has the hash of the one before it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select

from infraprism.backend.deletions.tables import RECEIPTS
from infraprism.backend.receipt_chain import FIRST, HASH, hash_of
from infraprism.backend.relational.database import RelationalDatabase


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
