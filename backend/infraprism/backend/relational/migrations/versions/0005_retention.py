"""Periods of accounts, and usage data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "account_retention",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("days", sa.Integer),
        sa.Column("deleted_before_day", sa.Integer, nullable=False, server_default="0"),
        sqlite_strict=True,
    )
    op.create_table(
        "usage_requests",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("usage_requests_by_account", "usage_requests", ["account_id", "number"])
    op.create_index("usage_requests_by_time", "usage_requests", ["time"])
    op.create_table(
        "usage_actions",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "usage_errors",
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("class", sa.Text, primary_key=True),
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "usage_settings",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("counts_actions", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
