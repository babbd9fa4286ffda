"""The audit log shows each change of its entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from infraprism.backend.audit.audit_log import AuditLog, first_fault
from infraprism.backend.relational.database import RelationalDatabase

_ENTRIES = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.sqlite"


@pytest.fixture
def database(file: Path) -> Iterator[RelationalDatabase]:
    with closing(RelationalDatabase(file)) as opened:
        yield opened


def _filled(database: RelationalDatabase) -> AuditLog:
    log = AuditLog(database, lambda: 1_800_000_000.5)
    for number in range(_ENTRIES):
        log.append("acc_1", "key_1", "key.created", f"key_{number}")
    return log


def test_entries_are_numbered_by_account_and_intact(database: RelationalDatabase) -> None:
    log = _filled(database)
    log.append("acc_2", "system", "deletion.completed")
    assert [entry.number for entry in log.all("acc_1")] == [1, 2, 3, 4, 5]
    assert [(entry.number, entry.time) for entry in log.all("acc_2")] == [(1, "2027-01-15T08:00:00.500+00:00")]
    assert [first_fault(log.all(account)) for account in log.account_ids()] == [None, None]


@pytest.mark.parametrize("column", ["time", "actor", "action", "object", "hash"])
def test_a_changed_entry_is_found(database: RelationalDatabase, file: Path, column: str) -> None:
    log = _filled(database)
    with closing(sqlite3.connect(file)) as other:
        other.execute(
            f"UPDATE audit_log SET {column} = {'x' + chr(39) * 2 if column == 'hash' else chr(39) * 2} WHERE number = 3"
        )
        other.commit()
    assert first_fault(log.all("acc_1")) == 3


def test_a_removed_entry_is_found(database: RelationalDatabase, file: Path) -> None:
    log = _filled(database)
    with closing(sqlite3.connect(file)) as other:
        other.execute("DELETE FROM audit_log WHERE number = 2")
        other.commit()
    assert first_fault(log.all("acc_1")) == 2


def test_an_entry_of_a_transaction_that_fails_is_not_kept(database: RelationalDatabase) -> None:
    log = _filled(database)
    with suppress(KeyError), database.transaction() as connection:
        log.append("acc_1", "key_1", "key.revoked", connection=connection)
        raise KeyError
    assert len(list(log.all("acc_1"))) == _ENTRIES


def test_entries_of_several_processes_form_one_chain(database: RelationalDatabase, file: Path) -> None:
    with closing(RelationalDatabase(file)) as other, ThreadPoolExecutor(4) as threads:
        logs = [AuditLog(database), AuditLog(other)]
        list(threads.map(lambda number: logs[number % 2].append("acc_1", "system", "setting.changed"), range(40)))
    log = AuditLog(database)
    assert len(list(log.all("acc_1"))) == 40
    assert first_fault(log.all("acc_1")) is None
