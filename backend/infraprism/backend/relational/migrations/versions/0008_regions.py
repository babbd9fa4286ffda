"""The region of accounts, and of the jobs of a server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns. Accounts and jobs of earlier versions have no region: the first server with one claims them."""
    op.add_column("accounts", sa.Column("region", sa.Text))
    op.add_column("jobs", sa.Column("region", sa.Text))
