"""The table of the periods of accounts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, Table, Text

from infraprism.backend.relational.metadata import METADATA

ACCOUNT_RETENTION: Final = Table(
    "account_retention",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("days", Integer),
    Column("deleted_before_day", Integer, nullable=False, server_default="0"),
    sqlite_strict=True,
)
"""`days`: a period of the account that is shorter than that of its plan. The events of days
before `deleted_before_day`, since 1970, were deleted, or are being deleted."""
