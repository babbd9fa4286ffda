"""A restored backup does not bring back what was deleted after it was made."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.backups import IDENTITY, RECIPIENT, backup, created, restored
from tests.kit.deletions import deleted
from tests.kit.events import START_NS, event
from tests.kit.raw_files import files_with
from tests.kit.summed_store import ACCOUNTS, DAY_MS, DAYS, FIRST_MS, SummedStore

from infraprism.backend.accounts import Accounts
from infraprism.backend.backups import restoring
from infraprism.backend.backups.catalog import Catalog
from infraprism.backend.backups.creation import Creation
from infraprism.backend.backups.encryption import Identities, Recipients
from infraprism.backend.backups.open_storage import open_storage
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.measured_rows import MeasuredRows

SCOPES: dict[str, dict[str, str]] = {
    "entity": {"entity_type": "customer", "entity_id": "secret-entity"},
    "session": {"session_id": "secret-session"},
    "tag": {"tag_key": "feature", "tag_value": "secret-tag"},
}
VALUES: dict[str, dict[str, Any]] = {
    "entity": {"entity_id": "secret-entity"},
    "session": {"session_id": "secret-session"},
    "tag": {"tags": {"feature": "secret-tag"}},
}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data directory with its deletions, a storage with a backup from before them"""
    directory = tmp_path_factory.mktemp("deleted-since")
    with Backend(directory / "data") as backend:
        number = 0
        for values in ({}, *VALUES.values()):
            sent = []
            for _ in range(10):
                number += 1
                sent.append(span(event(number, timestamp_ns=START_NS + number * 1_000_000, **values)))
            assert backend.export(*sent).rejected == 0
        other = backend.add_account()
        assert backend.export(span(event(900, entity_id="secret-account")), key=other).rejected == 0
        assert len(backend.events()) == 40
        created(directory / "data", directory / "backups")
        for scope in SCOPES.values():
            deleted(backend, **scope)
        later = span(event(500, timestamp_ns=START_NS + 7_000_000_000_000_000, entity_id="secret-entity"))
        later.start_time_unix_nano = int(datetime.now(UTC).timestamp()) * 1_000_000_000
        later.end_time_unix_nano = later.start_time_unix_nano
        assert backend.export(later).rejected == 0
        assert len(backend.events()) == 11
    return directory / "data", directory / "backups"


def test_deletions_of_accounts_that_survived_are_applied_before_a_server_can_start(
    directories: tuple[Path, Path], tmp_path: Path
) -> None:
    data, storage = directories
    surviving = tmp_path / "accounts.sqlite"
    shutil.copy(data / "accounts.sqlite", surviving)
    directory = restored(storage, tmp_path / "restored", "--keep-accounts", str(surviving))
    for text in ("secret-entity", "secret-session", "secret-tag"):
        assert [name for name in files_with(directory, text) if not name.startswith("log/")] == []
    with Backend(directory) as backend:
        assert len(backend.events()) == 10
        assert {one["entity_id"] for one in backend.events()} == {"acme-corp"}
        found = backend.get("/v1/analytics/costs", start_date="2026-01-01", end_date="2029-12-31").json
        assert found["summary"]["total_events"] == 10


def test_without_surviving_accounts_the_restored_data_is_that_of_the_backup(
    directories: tuple[Path, Path], tmp_path: Path
) -> None:
    with Backend(restored(directories[1], tmp_path / "restored")) as backend:
        assert len(backend.events()) == 40


def test_events_of_an_account_that_does_not_exist_any_more_are_deleted(
    directories: tuple[Path, Path], tmp_path: Path
) -> None:
    surviving = tmp_path / "accounts.sqlite"
    with closing(Accounts(surviving)) as accounts:
        accounts.add_with_key()
    ran = backup("restore", directories[1], "--data-dir", str(tmp_path / "restored"), "--keep-accounts", str(surviving))
    assert (ran.returncode, ran.stderr) == (0, "")
    for text in ("secret-account", "acme-corp"):
        names = files_with(tmp_path / "restored" / "store", text)
        assert names == []


def test_days_whose_events_are_deleted_by_retention_are_restored_exactly(tmp_path: Path) -> None:
    data, end_ms = tmp_path / "data", FIRST_MS + DAYS * DAY_MS
    end = datetime.fromtimestamp(end_ms / 1000, UTC).date()
    requests = [
        MeasuredRows(account, dimensions=dimensions, first_ms=FIRST_MS, end_ms=end_ms, time_unit="day")
        for account in ACCOUNTS
        for dimensions in ((), ("model",), ("entity_type", "entity_id"))
    ]
    data.mkdir()
    with SummedStore(data) as store:
        for seed, account in enumerate(ACCOUNTS):
            store.insert(seed, 400, account)
            store.aggregates.finalise(account, end)
        expected = [store.rows(request) for request in requests]
    with closing(EmbeddedDatabase(data / "store", computes_aggregates=False)) as database:
        for account in ACCOUNTS:
            database.delete_events(account, first_ms=None, end_ms=end_ms, should_stop=lambda: False, keep_sums=True)
        storage = open_storage(str(tmp_path / "backups"))
        assert Creation(data, database, storage, Recipients([RECIPIENT])).make(30).events == 0
    reading = restoring.Reading(storage, Catalog(storage).find(None), Identities(IDENTITY))
    reading.restore(tmp_path / "restored")
    with SummedStore(tmp_path / "restored") as store:
        store.wait()
        store.aggregates.verify_finalised()
        assert [store.rows(request) for request in requests] == expected
        assert all(expected)
        assert [store.event_rows(request) for request in requests] == [[]] * len(requests)
