"""The table of the audit log."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, Table, Text

from infraprism.backend.relational.metadata import METADATA

AUDIT_LOG: Final = Table(
    "audit_log",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_strict=True,
)
"""Entries are numbered from 1 for each account. Each hash covers the hash before it."""
