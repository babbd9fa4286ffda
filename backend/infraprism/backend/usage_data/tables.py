"""The tables of usage data. No column has a value that a request sent."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Integer, Table, Text

from infraprism.backend.relational.metadata import METADATA

REQUESTS: Final = Table(
    "usage_requests",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("account_id", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Index("usage_requests_by_account", "account_id", "number"),
    Index("usage_requests_by_time", "time"),
    sqlite_strict=True,
)
ACTIONS: Final = Table(
    "usage_actions",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    sqlite_strict=True,
)
"""`kind` is `page` or `feature`."""
ERRORS: Final = Table(
    "usage_errors",
    METADATA,
    Column("day", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("class", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    sqlite_strict=True,
)
SETTINGS: Final = Table(
    "usage_settings",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("counts_actions", Integer, nullable=False),
    sqlite_strict=True,
)
"""Whether page views and feature usage of an account are counted."""
