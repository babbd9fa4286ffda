"""A database of the version before members keeps its accounts, keys, secrets and audit log."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import insert, inspect, select
from tests.kit.accounts import Mailbox, Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, Key
from infraprism.backend.accounts.members import Members
from infraprism.backend.accounts.stored_accounts import StoredAccounts
from infraprism.backend.audit.audit_log import AuditLog, first_fault
from infraprism.backend.cluster.migration import copy_accounts
from infraprism.backend.deletions.tables import DELETIONS
from infraprism.backend.retention import Retention

EARLIER: Final = (Path(__file__).parent / "before_members.sql").read_text("utf-8")
"""Made by the code of that version, with emails, which only code could set."""
KEY: Final = "ip-the-key-of-the-earlier-version-8Zq2"
SECOND: Final = "ip-another-key-of-that-version-8Zq2"
REVOKED: Final = "ip-revoked-key-of-that-version-8Zq2"


@pytest.fixture
def migrated(location: Path | str, clock: Clock) -> Accounts:
    if isinstance(location, Path):
        with closing(sqlite3.connect(location)) as earlier:
            earlier.executescript(EARLIER)
    else:
        import psycopg  # noqa: PLC0415  # not installed in every environment of the tests

        changed = re.sub(r"X'([0-9A-F]+)'", r"decode('\1', 'hex')", EARLIER.replace("BLOB", "BYTEA"))
        changed = changed.replace("\n STRICT\n", "").replace("BEGIN TRANSACTION;", "").replace("COMMIT;", "")
        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(changed.replace("DEFAULT '0'", "DEFAULT 0").encode())
    return Accounts(location, clock)


def test_keys_of_an_earlier_version_stay_valid_with_every_scope(migrated: Accounts) -> None:
    with closing(migrated):
        found = migrated.find_key(KEY)
        assert found is not None
        assert found.scopes == {"ingest", "read", "admin"}
        assert migrated.find_by_key(SECOND) is not None
        assert migrated.find_by_key(REVOKED) is None
        (key,) = migrated.keys(found.account.id)
        assert (key.id, key.name, key.last_used_on, key.expires_at) == (Key.id_of(KEY), None, None, None)


def test_settings_the_secrets_and_the_audit_log_are_kept(migrated: Accounts) -> None:
    with closing(migrated):
        account = migrated.find_by_key(SECOND)
        assert account is not None
        assert (account.company, account.plan, account.usage_detail) == ("Acme", "growth", True)
        assert (account.time_zone, account.requests_per_minute, account.retention_days) == ("UTC", None, None)
        assert migrated.secret("cursor").hex() == "ed36f20e2c847a5b3b92b52ede8b6fdc60c6845582636d5420b6cf5f55ac6001"
        log = AuditLog(migrated.database)
        entries = list(log.all("acc_6e7ddfc4277b5a64"))
        assert [entry.action for entry in entries] == ["key.created"]
        assert first_fault(entries) is None


def test_the_email_of_an_account_becomes_its_owner_once_and_the_columns_are_removed(migrated: Accounts) -> None:
    with closing(migrated):
        members = Members(migrated.database, AuditLog(migrated.database))
        found = [member for account in migrated.all() for member in members.all(account.id)]
        assert [(one.account_id, one.email, one.name, one.role, one.has_password) for one in found] == [
            ("acc_f499d916385bd04d", "ada@example.com", "Ada", "owner", False)
        ]
        with migrated.database.transaction() as connection:
            columns = {column["name"] for column in inspect(connection).get_columns("accounts")}
        assert columns.isdisjoint({"email", "name"})


def test_the_owner_of_an_earlier_version_gets_a_password_with_a_link(migrated: Accounts, mailbox: Mailbox) -> None:
    with closing(migrated):
        organisation = Organisation(migrated, mailbox)
        found = organisation.members.with_hash("ada@example.com")
        assert found is not None
        kind, token = organisation.logins.operator_link(found[0])
        assert kind == "accept-invitation"
        assert organisation.logins.accept_invitation(token, password="a new long password").member.has_password


def test_every_table_is_copied_to_another_database(tmp_path: Path, new_database: Callable[[], str]) -> None:
    file, url = tmp_path / "accounts.sqlite", new_database()
    with closing(Accounts(file)) as accounts:
        organisation = Organisation(accounts, Mailbox())
        organisation.logins.setup_link(organisation.account.id)
        organisation.accounts.add_key(organisation.account.id)
        accounts.secret("cursor")
        database, account_id = accounts.database, organisation.account.id
        Retention(database).set_days(account_id, 5)
        database.run(
            insert(DELETIONS).values(id="del_1", account_id=account_id, kind="entity", hash=b"1", requested_ms=1)
        )
    for _ in range(2):
        assert copy_accounts(file, url) == 1
    copied = {}
    with closing(StoredAccounts(file)) as here, closing(StoredAccounts(url)) as there:
        for table, _ in here.everything():
            rows = [sorted(map(repr, database.rows(select(table)))) for database in (here, there)]
            assert rows[0] == rows[1], table.name
            copied[table.name] = len(rows[0])
    filled = {
        "accounts",
        "keys",
        "members",
        "links",
        "sessions",
        "secrets",
        "audit_log",
        "account_retention",
        "deletions",
    }
    assert filled <= {name for name, rows in copied.items() if rows}
