"""The tables of deletions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from infraprism.backend.relational.metadata import METADATA

DELETIONS: Final = Table(
    "deletions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("scope", Text),
    Column("hash", LargeBinary, nullable=False),
    Column("first_ms", BigInteger),
    Column("end_ms", BigInteger),
    Column("requested_ms", BigInteger, nullable=False),
)
"""What was asked to be deleted. `scope` is the scope in clear until the deletion is complete, and then NULL; `hash` is
its keyed hash. Events of the scope that start before `requested_ms` are refused for ever."""

RECEIPTS: Final = Table(
    "receipts",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("deletion_id", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
"""The receipts of an account, in a chain. `content` is the JSON of which `hash` is the hash."""

CLOSED_ACCOUNTS: Final = Table(
    "closed_accounts",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    Column("receipt", Text),
    Column("expires_ms", BigInteger, nullable=False),
)
"""The results of deleted accounts: the hash of the token that reads one, and the receipt when all is deleted."""
