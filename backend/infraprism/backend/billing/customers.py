"""Which account a customer of Stripe is, as stored."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.billing.tables import BILLING_CUSTOMERS
from infraprism.backend.relational.database import RelationalDatabase

_C = BILLING_CUSTOMERS.c


class Customers:
    """The customers. Every method raises DatabaseUnavailableError."""

    def __init__(self, database: RelationalDatabase) -> None:
        self._database = database

    def of_account(self, account_id: str) -> str | None:
        """The id of the customer of an account."""
        rows = self._database.rows(select(_C.customer_id).where(_C.account_id == account_id))
        return rows[0].customer_id if rows else None

    def account_of(self, customer_id: str) -> str | None:
        """The account of a customer."""
        rows = self._database.rows(select(_C.account_id).where(_C.customer_id == customer_id))
        return rows[0].account_id if rows else None

    def link(self, account_id: str, customer_id: str) -> None:
        """Store the customer of an account, instead of another one.

        Nothing is stored for an account that was deleted, or for the customer of another account.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection, f"billing {account_id}")
            exists = connection.execute(select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account_id)).first()
            owner = connection.execute(select(_C.account_id).where(_C.customer_id == customer_id)).scalar()
            if exists and owner is None:
                connection.execute(delete(BILLING_CUSTOMERS).where(_C.account_id == account_id))
                values = {"account_id": account_id, "customer_id": customer_id, "changed_at": 0}
                connection.execute(insert(BILLING_CUSTOMERS).values(**values))

    def is_newest(self, connection: Connection, account_id: str, at_s: int) -> bool:
        """Record the time of an event. False if a later one was recorded before."""
        self._database.lock(connection, f"billing {account_id}")
        changed = connection.execute(
            update(BILLING_CUSTOMERS).where(_C.account_id == account_id, _C.changed_at <= at_s).values(changed_at=at_s)
        )
        return changed.rowcount == 1
