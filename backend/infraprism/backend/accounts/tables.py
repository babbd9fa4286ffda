"""The tables of accounts, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, ForeignKey, Integer, LargeBinary, MetaData, Table, Text, inspect

METADATA: Final = MetaData()

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


def create(connection: Connection) -> None:
    """Create what is missing, also in a database of an earlier version."""
    METADATA.create_all(connection)
    if all(column["name"] != "revoked_at" for column in inspect(connection).get_columns("keys")):
        connection.exec_driver_sql("ALTER TABLE keys ADD COLUMN revoked_at TEXT")
