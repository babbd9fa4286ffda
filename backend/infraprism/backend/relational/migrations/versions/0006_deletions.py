"""Deletions, receipts, and the results of deleted accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deletions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("scope", sa.Text),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("first_ms", sa.BigInteger),
        sa.Column("end_ms", sa.BigInteger),
        sa.Column("requested_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_deletions_account_id", "deletions", ["account_id"])
    op.create_table(
        "receipts",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("deletion_id", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_table(
        "closed_accounts",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("receipt", sa.Text),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
    )
