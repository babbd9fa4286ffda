"""Databases of every version get the tables of this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from tests.kit.postgresql import postgresql

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.billing.tables import BILLING_CUSTOMERS
from infraprism.backend.deletions import Deletions
from infraprism.backend.jobs import Jobs
from infraprism.backend.relational import DatabaseUnavailableError, migrations
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.relational.metadata import METADATA
from infraprism.backend.retention import Retention
from infraprism.backend.usage_data import UsageData

_IMPORTED = (AuditLog, BILLING_CUSTOMERS, Deletions, Jobs, Retention, UsageData)  # with their tables
_FIRST_VERSION = """
    CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT, name TEXT, company TEXT, plan TEXT NOT NULL,
        usage_detail INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL) STRICT;
    CREATE TABLE keys (hash BLOB PRIMARY KEY, prefix TEXT NOT NULL,
        account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE, created_at TEXT NOT NULL) STRICT;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    if request.param == "SQLite":
        yield tmp_path / "accounts.sqlite"
        return
    with postgresql() as server:
        yield server.url()


def test_the_revisions_make_the_tables_that_the_packages_define(location: Path | str) -> None:
    RelationalDatabase(location).close()
    url = f"sqlite:///{location}" if isinstance(location, Path) else location.replace("://", "+psycopg://")
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_newest_revisions_are_named() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert frozenset(ScriptDirectory.from_config(config).get_heads()) == migrations.HEADS


def test_accounts_of_the_first_version_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "accounts.sqlite"
    with closing(sqlite3.connect(file)) as first:
        first.executescript(_FIRST_VERSION)
        first.execute("INSERT INTO accounts (id, plan, created_at) VALUES ('acc_1', 'self_hosted', '2026-01-01')")
        first.commit()
    for _ in range(2):
        with closing(Accounts(file)) as accounts:
            assert [account.id for account in accounts.all()] == ["acc_1"]
            assert accounts.keys("acc_1") == []


def test_a_database_of_a_newer_version_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "accounts.sqlite"
    RelationalDatabase(file).close()
    with closing(sqlite3.connect(file)) as newer:
        newer.executescript("DELETE FROM alembic_version; INSERT INTO alembic_version VALUES ('9999')")
        newer.commit()
    before = file.read_bytes()
    with pytest.raises(DatabaseUnavailableError, match="newer version"):
        RelationalDatabase(file)
    assert file.read_bytes() == before
