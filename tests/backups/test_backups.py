"""Backups by the command and by a server: what they contain, when they expire, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.kit.backend import Backend, span
from tests.kit.backups import CREDENTIALS, IDENTITY, RECIPIENT, backup, created, restored, s3_server
from tests.kit.events import event, events

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.backups.catalog import DAY_S, MAX_DURATION_S, Catalog
from infraprism.backend.backups.encryption import new_identity
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.open_storage import open_storage

SECRET = "customer-with-a-name"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that was stopped, with 20 events and an account without."""
    directory = tmp_path_factory.mktemp("backed-up") / "data"
    with Backend(directory) as backend:
        sent = [event(number, entity_id=SECRET) for number in range(1, 21)]
        assert backend.export(*map(span, sent)).rejected == 0
        backend.add_account(company="second")
    return directory


@pytest.fixture(scope="module")
def storage(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with one backup of the directory."""
    directory = tmp_path_factory.mktemp("storage") / "backups"
    created(data, directory)
    return directory


def listed(storage: Path) -> list[dict[str, Any]]:
    ran = backup("list", storage, "--json")
    assert ran.returncode == 0
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_nothing_of_the_data_can_be_read_in_the_storage(storage: Path) -> None:
    files = [path for path in storage.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert path.stat().st_mode & 0o077 == 0
        content = path.read_bytes()
        for text in (SECRET, "accounts.sqlite", "acc_", "gpt-4o", "1970", IDENTITY.split()[-1]):
            assert text.encode() not in content, path


def test_a_restored_server_has_the_accounts_events_and_keys(storage: Path, tmp_path: Path) -> None:
    directory = restored(storage, tmp_path / "restored")
    with Backend(directory) as backend:
        assert {one["entity_id"] for one in backend.events()} == {SECRET}
        assert len(backend.events()) == 20
    with closing(Accounts(directory / "accounts.sqlite")) as accounts:
        assert [account.company for account in accounts.all()] == [None, "second"]
        actions = [(entry.action, entry.actor) for entry in AuditLog(accounts.database).entries("")]
    assert actions == [("backup.restored", "operator")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.rglob("*") if path.is_file())


def test_a_backup_is_recorded_in_the_audit_log(data: Path, storage: Path) -> None:
    with closing(Accounts(data / "accounts.sqlite")) as accounts:
        entries = AuditLog(accounts.database).entries("")
    assert {entry.action for entry in entries} == {"backup.created"}
    assert [one["id"] for one in listed(storage)] == [entries[0].object]


def test_an_unchanged_part_is_stored_once(tmp_path: Path) -> None:
    storage, data = tmp_path / "backups", tmp_path / "data"
    with Backend(data) as backend:
        tags = {f"key_{number}": "x" * 200 for number in range(20)}
        sent = [span(event(number, tags={**tags, "unique": f"{number:0200d}"})) for number in range(1, 2_001)]
        for first in range(0, 2_000, 500):
            assert backend.export(*sent[first : first + 500]).rejected == 0
    assert backend.process.returncode == 0
    made = created(data, storage)
    again = created(data, storage)
    assert made["events_in_store"] == again["events_in_store"] == 2_000
    objects = [path for path in (storage / "objects").rglob("*") if path.is_file()]
    assert len(objects) <= 3
    with Backend(restored(storage, tmp_path / "restored")) as backend:
        assert len(backend.events()) == 1000
        found = backend.get("/v1/analytics/costs", start_date="2026-01-01", end_date="2027-12-31").json
        assert found["summary"]["total_events"] == 2_000


def test_objects_of_other_recipients_are_not_used_again(data: Path, tmp_path: Path) -> None:
    storage, (identity, recipient) = tmp_path / "backups", new_identity()
    created(data, storage)
    created(data, storage, "--recipient", recipient)
    ran = backup("verify", storage, environment={"INFRAPRISM_BACKUP_IDENTITY": identity})
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_changed_byte_anywhere_in_the_storage_is_found(data: Path, tmp_path: Path) -> None:
    storage = tmp_path / "backups"
    created(data, storage)
    for path in [*(storage / "objects").rglob("*.age"), *(storage / "backups").glob("*.age")]:
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            for identity in (IDENTITY, ""):
                ran = backup("verify", storage, environment={"INFRAPRISM_BACKUP_IDENTITY": identity})
                assert ran.returncode == 1
                assert ran.stderr.count("\n") == 1
        path.write_bytes(whole)
    assert backup("verify", storage).returncode == 0


def test_a_damaged_backup_is_not_restored(data: Path, tmp_path: Path) -> None:
    storage, target = tmp_path / "backups", tmp_path / "restored"
    created(data, storage)
    (path,) = (storage / "objects").rglob("*.age")
    path.write_bytes(path.read_bytes()[:-100])
    ran = backup("restore", storage, "--data-dir", str(target))
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert (target / "restoring").exists()


def test_a_backup_is_restored_into_an_empty_directory_only(storage: Path, data: Path) -> None:
    ran = backup("restore", storage, "--data-dir", str(data))
    assert ran.returncode == 1
    assert "is not empty" in ran.stderr


def test_accounts_that_survived_are_kept(storage: Path, data: Path, tmp_path: Path) -> None:
    surviving = tmp_path / "accounts.sqlite"
    with closing(Accounts(surviving)) as accounts:
        accounts.add(company="newer")
    directory = restored(storage, tmp_path / "restored", "--keep-accounts", str(surviving))
    with closing(Accounts(directory / "accounts.sqlite")) as accounts:
        assert [account.company for account in accounts.all()] == ["newer"]


@pytest.mark.parametrize(
    ("action", "arguments", "reason"),
    [
        ("create", ("--keep-days", "31"), "not a number of days from 1 to 30"),
        ("create", ("--recipient", "AGE-SECRET-KEY-1QQQ"), "a recipient is a public key"),
        ("create", ("--recipient", "age1other"), "a recipient is age1"),
        ("create", ("--storage", "relative"), "an absolute path"),
        ("create", ("--data-dir", "/nowhere"), "no store in /nowhere"),
        ("verify", ("--backup", "backup-of-another"), "there is no such backup"),
        ("verify", ("--identity-file", "/nowhere"), "/nowhere cannot be read"),
    ],
)
def test_a_mistake_is_one_line(storage: Path, data: Path, action: str, arguments: tuple[str, ...], reason: str) -> None:
    ran = backup(action, storage, *(("--data-dir", str(data)) if action == "create" else ()), *arguments)
    assert ran.returncode in {1, 2}
    assert reason in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


def test_the_identity_is_printed_by_a_command(storage: Path, tmp_path: Path) -> None:
    file = tmp_path / "identity"
    made = backup("new-key", storage, str(file))
    assert made.stdout.startswith("age1")
    assert "SECRET" not in made.stdout
    assert file.stat().st_mode & 0o077 == 0
    assert backup("new-key", storage, str(file)).returncode == 1
    file.write_text(IDENTITY)
    variables = {"INFRAPRISM_BACKUP_IDENTITY": "", "INFRAPRISM_BACKUP_IDENTITY_COMMAND": f"cat {file}"}
    assert "all" in backup("verify", storage, environment=variables).stdout
    variables["INFRAPRISM_BACKUP_IDENTITY_COMMAND"] = "false"
    assert "INFRAPRISM_BACKUP_IDENTITY_COMMAND failed" in backup("verify", storage, environment=variables).stderr


def test_an_expired_backup_is_deleted_with_what_no_other_uses(data: Path, tmp_path: Path) -> None:
    catalog = Catalog(open_storage(str(tmp_path / "backups")))
    first = created(data, tmp_path / "backups", "--keep-days", "1")
    with Backend(data) as backend:
        assert backend.export(*map(span, events(5, 5_000))).rejected == 0
        second = created(data, tmp_path / "backups", "--keep-days", "2")
    expires_s = first["expires_ms"] / 1000
    assert catalog.expire(expires_s - 1) == []
    assert catalog.expire(expires_s + 1) == [first["id"]]
    assert [found.id for found in catalog.backups()] == [second["id"]]
    assert backup("verify", tmp_path / "backups").returncode == 0
    assert catalog.expire(second["expires_ms"] / 1000 + 1) == [second["id"]]
    assert catalog.expire(expires_s + 3 * DAY_S) == []
    assert [path for path in (tmp_path / "backups").rglob("*") if path.is_file()] == []


def test_what_is_being_stored_now_is_not_deleted(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("objects/00/new.tar.age", lambda _: None)
    now_s = storage.stored("objects/")[0].modified_s
    Catalog(storage).expire(now_s + MAX_DURATION_S - 10)
    assert storage.stored("objects/")
    Catalog(storage).expire(now_s + MAX_DURATION_S + 10)
    assert storage.stored("objects/") == []


def test_an_object_is_not_used_again_if_it_may_be_deleted_meanwhile(storage: Path) -> None:
    catalog = Catalog(open_storage(str(storage)))
    (found,) = catalog.backups()
    assert catalog.reusable(found.recipients, found.expires_s - MAX_DURATION_S - 10)
    assert not catalog.reusable(found.recipients, found.expires_s - MAX_DURATION_S + 10)
    assert not catalog.reusable("others", found.created_s)


def test_nothing_is_deleted_if_the_index_of_a_backup_cannot_be_read(data: Path, tmp_path: Path) -> None:
    created(data, tmp_path / "backups")
    (index,) = (tmp_path / "backups" / "backups").glob("*.json")
    index.write_bytes(index.read_bytes()[:-20])
    with pytest.raises(BackupError, match="cannot be read"):
        Catalog(open_storage(str(tmp_path / "backups"))).expire(4e9)
    assert list((tmp_path / "backups" / "objects").rglob("*.age"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


def test_a_server_makes_backups_in_a_bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": endpoint}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    url = "s3://bucket/infraprism"
    settings = {"backup_to": url, "backup_recipients": [RECIPIENT], "backup_keep_days": 7}
    with Backend(tmp_path / "data", settings=settings) as backend:
        assert backend.export(span(event())).rejected == 0
        catalog = Catalog(open_storage(url))
        while not catalog.backups():
            threading.Event().wait(0.1)
        while "infraprism_backup_last_success_seconds 0.0" in backend.get("/metrics").body.decode():
            threading.Event().wait(0.1)
        assert "infraprism_backup_failed 0.0" in backend.get("/metrics").body.decode()
        assert backend.get("/readyz").json["status"] == "ok"
        made = created(tmp_path / "data", url, **variables)
    (first, second) = catalog.backups()
    assert first.expires_s - first.created_s == 7 * DAY_S
    assert second.id == made["id"]
    with Backend(restored(url, tmp_path / "restored", **variables)) as backend:
        assert len(backend.events()) == 1


def test_a_backup_that_fails_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = {"backup_to": f"{tmp_path}/file/backups", "backup_recipients": [RECIPIENT]}
    with Backend(tmp_path / "data", settings=settings) as backend:
        while (ready := backend.get("/readyz")).json["status"] == "ok":
            threading.Event().wait(0.1)
        assert (ready.status, ready.json["status"]) == (200, "degraded")
        assert "backup" in ready.json["reason"]
        assert "infraprism_backup_failed 1.0" in backend.get("/metrics").body.decode()
        assert backend.export(span(event())).rejected == 0
