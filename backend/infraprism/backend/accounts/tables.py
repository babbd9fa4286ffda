"""The tables of accounts, for SQLite and PostgreSQL. docs/accounts.md lists what they contain of a person."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Table, Text

from infraprism.backend.relational.metadata import METADATA

ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("company", Text),
    Column("plan", Text, nullable=False),
    Column("usage_detail", Integer, nullable=False, server_default="0"),
    Column("created_at", Text, nullable=False),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    Column("requests_per_minute", Integer),
    Column("retention_days", Integer),
    Column("region", Text),
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
    Column("name", Text),
    # The default is for the keys of earlier versions, which could do everything.
    Column("scopes", Text, nullable=False, server_default="ingest read admin"),
    Column("last_used_on", Text),
    Column("expires_at", Text),
    sqlite_strict=True,
)
"""Only the hash of a key is stored: reading it does not give access. The prefix identifies a key to its owner."""

MEMBERS: Final = Table(
    "members",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),
    Column("email_verified_at", Text),
    sqlite_strict=True,
)
"""The email is in lower case. The password is a bcrypt hash."""

LINKS: Final = Table(
    "links",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("member_id", Text, ForeignKey("members.id", ondelete="CASCADE")),
    Column("expires_at", Text, nullable=False),
    Column("is_mailed", Integer, nullable=False),
    sqlite_strict=True,
)
"""Links that can be used once. A row is deleted when its link is used or replaced."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    Column("member_id", Text, ForeignKey("members.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Text, nullable=False),
    Column("last_used_at", Text, nullable=False),
    sqlite_strict=True,
)
"""Logged-in browsers. Neither an address nor the name of a browser is stored."""

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Random keys of this installation, such as the one that signs pagination cursors."""
