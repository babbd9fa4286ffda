"""The table of the customers of Stripe."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from infraprism.backend.relational.metadata import METADATA

BILLING_CUSTOMERS: Final = Table(
    "billing_customers",
    METADATA,
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("customer_id", Text, nullable=False, unique=True),
    Column("changed_at", Integer, nullable=False),
    sqlite_strict=True,
)
"""The customer of an account, and the time of the newest event of its subscription, in Unix seconds."""
