"""The tables of accounts, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, Text

from infraprism.backend.relational.metadata import METADATA

ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("email", Text),
    Column("name", Text),
    Column("company", Text),
    Column("plan", Text, nullable=False),
    Column("usage_detail", Integer, nullable=False, server_default="0"),
    Column("created_at", Text, nullable=False),
    sqlite_strict=True,
)

KEYS: Final = Table(
    "keys",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    Column("prefix", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
    sqlite_strict=True,
)
"""Only the hash of a key is stored: reading it does not give access. The prefix identifies a key to its owner."""

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Random keys of this installation, such as the one that signs pagination cursors."""
