"""An archive has everything that an account holds, and nothing of another account."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.events import event
from tests.kit.exports import download, ended, json_rows, unzipped
from tests.kit.random_calls import random_calls

from infraprism import backend as package
from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.exports.archive_tables import ARCHIVED, NOT_ARCHIVED, PUBLIC_HASHES
from infraprism.backend.relational.metadata import METADATA

CALLS = random_calls(300)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("archive") / "data") as running:
        assert running.export(*map(span, CALLS)).rejected == 0
        other = running.add_account(email="other@example.com")
        assert running.export(span(event(9000, entity_id="of-another-account")), key=other).rejected == 0
        yield running


def _import_all_tables() -> None:
    for module in walk_packages(package.__path__, "infraprism.backend."):
        if module.name.endswith(".tables") and ".store." not in module.name:
            import_module(module.name)


def _archive(backend: Backend, **entity: str) -> dict[str, bytes]:
    created = backend.send("POST", "/v1/exports", {"kind": "archive", **entity})
    assert created.status == 202, created.body
    export = ended(backend, created.json["id"])
    assert export["state"] == "succeeded", export
    file = download(backend, export).body
    assert hashlib.sha256(file).hexdigest() == export["sha256"]
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_table_with_an_account_is_archived_or_has_a_reason() -> None:
    _import_all_tables()
    owned = {table.name for table in METADATA.tables.values() if {"account_id", "member_id"} & set(table.c.keys())}
    with_account = owned | {"accounts"}
    listed = ARCHIVED.keys() | NOT_ARCHIVED.keys()
    assert with_account - listed == set(), "add the table to ARCHIVED or NOT_ARCHIVED of archive_tables.py"
    assert not ARCHIVED.keys() & NOT_ARCHIVED.keys()


def test_no_hash_of_a_password_or_a_key_is_archived() -> None:
    _import_all_tables()
    shown = {
        (name, column.name)
        for name in ARCHIVED
        if name in METADATA.tables
        for column in METADATA.tables[name].c
        if column.name not in ARCHIVED[name].left_out and ("hash" in column.name or "secret" in column.name)
    }
    assert shown <= PUBLIC_HASHES


def test_the_archive_of_an_account_has_its_events_sums_and_tables(backend: Backend) -> None:
    files = _archive(backend)
    rows = json_rows(unzipped(files["events.ndjson.gz"]))
    expected = {one["id"]: one for one in backend.events()}
    assert len(rows) == len(CALLS)
    for row in rows:
        assert expected[row["id"]].items() <= row.items()
    (account,) = json_rows(files["tables/accounts.ndjson"])
    assert account["id"] == backend.get("/v1/me").json["id"]
    keys = json_rows(files["tables/keys.ndjson"])
    assert backend.key[:8] in [key["prefix"] for key in keys]
    assert not [key for key in keys if "hash" in key]
    jobs = json_rows(files["tables/jobs.ndjson"])
    assert jobs
    assert {job["account_id"] for job in jobs} == {account["id"]}
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        entries = AuditLog(accounts.database).entries(account["id"])
    audit = json_rows(files["tables/audit_log.ndjson"])
    assert [one["hash"] for one in audit] == [one.hash.hex() for one in entries][: len(audit)]
    assert audit


def test_the_daily_sums_of_an_archive_are_those_of_its_events(backend: Backend) -> None:
    files = _archive(backend)
    sums = json_rows(files["daily_sums.ndjson"])
    total = backend.get("/v1/analytics/costs", start_date="2026-01-01", end_date="2026-12-31").json["data"][0]
    for name in ("total_events", "unpriced_events", "failed_events"):
        assert sum(row[name] for row in sums) == total[name]
    cost = sum(row["total_cost"] for row in sums if row["total_cost"] is not None)
    assert cost == pytest.approx(total["total_cost"])
    assert len({(row["day"], *map(row.get, ("entity_id", "model", "provider", "operation"))) for row in sums}) == len(
        sums
    )


def test_the_manifest_has_the_rows_and_checksum_of_each_file(backend: Backend) -> None:
    files = _archive(backend)
    manifest = json.loads(files.pop("manifest.json"))
    assert {entry["name"] for entry in manifest["files"]} == set(files)
    for entry in manifest["files"]:
        content = files[entry["name"]]
        lines = unzipped(content) if entry["name"].endswith(".gz") else content
        assert entry["rows"] == len(lines.splitlines())
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert manifest["scope"] == "account"


def test_the_archive_of_an_entity_has_its_events_and_sums_only(backend: Backend) -> None:
    files = _archive(backend, entity_type="customer", entity_id="acme")
    assert set(files) == {"events.ndjson.gz", "daily_sums.ndjson", "manifest.json"}
    rows = json_rows(unzipped(files["events.ndjson.gz"]))
    assert len(rows) == sum(one.entity_id == "acme" for one in CALLS) > 0
    assert {row["entity_id"] for row in rows} == {"acme"}
    sums = json_rows(files["daily_sums.ndjson"])
    assert {row["entity_id"] for row in sums} == {"acme"}
    assert sum(row["total_events"] for row in sums) == len(rows)
    assert json.loads(files["manifest.json"])["scope"] == {"entity_type": "customer", "entity_id": "acme"}


def test_an_archive_has_nothing_of_another_account(backend: Backend) -> None:
    for name, content in _archive(backend).items():
        text = unzipped(content) if name.endswith(".gz") else content
        assert b"other@example.com" not in text
        assert b"of-another-account" not in text


def test_only_the_key_that_requested_an_archive_gets_its_link(backend: Backend) -> None:
    created = backend.send("POST", "/v1/exports", {"kind": "archive"}).json
    assert ended(backend, created["id"])["link"] is not None
    account_id = backend.get("/v1/me").json["id"]
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        another = accounts.add_key(account_id)
    read = backend.get(f"/v1/exports/{created['id']}", another).json
    assert (read["state"], read["link"]) == ("succeeded", None)


@pytest.mark.parametrize(
    "body",
    [
        {"format": "csv"},
        {"entity_id": "x"},
        {"entity_type": "customer", "entity_id": ["x", "y"]},
        {"start_date": "2026-01-01"},
        {"model": "gpt-4o"},
    ],
)
def test_an_archive_has_no_other_filter(backend: Backend, body: dict[str, Any]) -> None:
    assert backend.send("POST", "/v1/exports", {"kind": "archive", **body}).status == 400


def test_the_command_writes_an_archive(backend: Backend, tmp_path: Path) -> None:
    environment = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": backend.key}
    output = tmp_path / "account.zip"
    ran = infraprism("export", "--archive", "--output", str(output), environment=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"{output}: 300 events, ")
    assert zipfile.is_zipfile(output)
    ran = infraprism("export", "--archive", "--model", "x", "--output", str(output), environment=environment)
    assert ran.returncode == 1
    assert "no other filter" in ran.stderr
