"""Jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("progress_done", sa.BigInteger, nullable=False),
        sa.Column("progress_total", sa.BigInteger),
        sa.Column("checkpoint", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("is_cancel_requested", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("retry_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("jobs_of_account", "jobs", ["account_id", "created_ms"])
    op.create_index("jobs_by_idempotency_key", "jobs", ["account_id", "idempotency_key"], unique=True)
