"""Periods of accounts, and usage data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "account_retention",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("days", sa.Integer),
        sa.Column("deleted_before_day", sa.Integer, nullable=False, server_default="0"),
        sqlite_strict=True,
    )
