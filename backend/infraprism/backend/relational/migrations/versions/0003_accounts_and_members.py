"""Members, one-time links and sessions; scopes and use of keys; own limits and the time zone of accounts."""

from __future__ import annotations

import re
import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_EMAIL = re.compile(r"[!-?A-~]{1,64}@[!-?A-~]{1,189}")


def upgrade() -> None:
    """Create the tables and columns. An email of an account becomes its first member, an owner without a password.

    No command of an earlier version wrote an email. Of several accounts with the same one, the oldest gets the member.
    """
    op.create_table(
        "members",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("email_verified_at", sa.Text),
        sqlite_strict=True,
    )
    op.create_index("ix_members_account_id", "members", ["account_id"])
    op.create_table(
        "links",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("member_id", sa.Text, sa.ForeignKey("members.id", ondelete="CASCADE")),
        sa.Column("expires_at", sa.Text, nullable=False),
        sa.Column("is_mailed", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "sessions",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("member_id", sa.Text, sa.ForeignKey("members.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("last_used_at", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("ix_sessions_member_id", "sessions", ["member_id"])
    op.add_column("accounts", sa.Column("time_zone", sa.Text, nullable=False, server_default="UTC"))
    op.add_column("accounts", sa.Column("requests_per_minute", sa.Integer))
    op.add_column("accounts", sa.Column("retention_days", sa.Integer))
    op.add_column("keys", sa.Column("name", sa.Text))
    op.add_column("keys", sa.Column("scopes", sa.Text, nullable=False, server_default="ingest read admin"))
    op.add_column("keys", sa.Column("last_used_on", sa.Text))
    op.add_column("keys", sa.Column("expires_at", sa.Text))
    _add_owners()
    op.drop_column("accounts", "email")
    op.drop_column("accounts", "name")


def _add_owners() -> None:
    connection = op.get_bind()
    rows = connection.execute(
        sa.text("SELECT id, email, name FROM accounts WHERE email IS NOT NULL ORDER BY created_at, id")
    ).all()
    known: set[str] = set()
    for account_id, given, name in rows:
        email = given.strip().lower()
        if email in known or not _EMAIL.fullmatch(email):
            continue
        known.add(email)
        connection.execute(
            sa.text(
                "INSERT INTO members (id, account_id, email, name, role) VALUES (:id, :account, :email, :name, 'owner')"
            ),
            {"id": f"mem_{secrets.token_hex(8)}", "account": account_id, "email": email, "name": name},
        )
