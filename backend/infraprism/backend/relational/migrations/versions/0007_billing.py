"""The customers of Stripe."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "billing_customers",
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False, unique=True),
        sa.Column("changed_at", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
