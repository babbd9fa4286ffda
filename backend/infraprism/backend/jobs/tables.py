"""The table of jobs, for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from infraprism.backend.relational.metadata import METADATA

# Not STRICT: its tables have no BIGINT, and the INTEGER of PostgreSQL has 32 bits.
JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress_done", BigInteger, nullable=False),
    Column("progress_total", BigInteger),
    Column("checkpoint", Text),
    Column("result", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("expires_ms", BigInteger),
    Column("actor", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("is_cancel_requested", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_ms", BigInteger, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("region", Text),
    Index("jobs_of_account", "account_id", "created_ms"),
    Index("jobs_by_idempotency_key", "account_id", "idempotency_key", unique=True),
)
"""Times are Unix milliseconds. `parameters`, `checkpoint` and `result` are JSON. Any server can take a job without a
final state if its lease has ended."""
