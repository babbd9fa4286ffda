"""`infraprism export` writes the verified file of an export, and continues after an interruption."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment, infraprism
from tests.kit.events import event
from tests.kit.exports import csv_rows, download, exported, json_rows, parquet_rows, unzipped

from infraprism.backend.accounts import Accounts
from infraprism.backend.jobs import Jobs

PERIOD = ("--start", "2026-01-01", "--end", "2026-12-31")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("command") / "data") as running:
        calls = [event(number, session_id=f"s{number % 3}") for number in range(1, 3001)]
        assert running.export(*map(span, calls)).rejected == 0
        yield running


@pytest.fixture
def environment(backend: Backend) -> dict[str, str]:
    return {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": backend.key}


def _run(environment: dict[str, str], output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return infraprism("export", *PERIOD, "--output", str(output), *arguments, environment=environment)


@pytest.mark.parametrize("arguments", [["--format", "csv"], ["--format", "json", "--gzip"], ["--format", "parquet"]])
def test_the_file_has_the_events_and_the_output_has_the_sums(
    environment: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    output = tmp_path / "events.file"
    ran = _run(environment, output, *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{output}: 3000 events, 19.5 USD, {output.stat().st_size} bytes\n"
    file = output.read_bytes()
    rows: list[Any] = (
        parquet_rows(file, tmp_path)
        if "parquet" in arguments
        else json_rows(unzipped(file))
        if "json" in arguments
        else list(csv_rows(file))
    )
    assert len(rows) == 3000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("events")] == ["events.file"]


def test_filters_select_events(environment: dict[str, str], tmp_path: Path) -> None:
    ran = _run(environment, tmp_path / "one.csv", "--session", "s1", "--entity", "customer:acme-corp")
    assert ran.stdout.startswith(f"{tmp_path / 'one.csv'}: 1000 events, 6.5 USD")
    ran = _run(environment, tmp_path / "none.json", "--session", "another", "--format", "json")
    assert ran.stdout == f"{tmp_path / 'none.json'}: 0 events, 0 USD, 0 bytes\n"
    assert (tmp_path / "none.json").read_bytes() == b""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--start", "2026-02-01", "--end", "2026-01-01"], "--end: 2026-01-01 is before --start"),
        (["--start", "2026-02-01"], "--start and --end: set both"),
        ([*PERIOD, "--format", "parquet", "--gzip"], "compressed in any case"),
    ],
)
def test_a_refused_export_is_one_line_and_leaves_no_file(
    environment: dict[str, str], tmp_path: Path, arguments: list[str], reason: str
) -> None:
    ran = infraprism("export", *arguments, "--output", str(tmp_path / "x"), environment=environment)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
    assert reason in ran.stderr
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_never_replaced(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    ran = _run(environment, tmp_path / "kept")
    assert ran.returncode == 1
    assert "choose another --output" in ran.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def _begun(backend: Backend, output: Path, part: bytes, **changes: Any) -> dict[str, Any]:
    """The state that a command has left that was interrupted during the download."""
    export, _ = exported(backend, format="csv")
    request = {"start_date": "2026-01-01", "end_date": "2026-12-31", "format": "csv", "compression": "none"}
    state = {"endpoint": backend.url, "id": export["id"], "request": {**request, **changes}}
    output.with_name(f"{output.name}.export").write_text(json.dumps(state))
    output.with_name(f"{output.name}.part").write_bytes(part)
    return export


def test_a_download_continues_with_the_bytes_that_are_there(
    backend: Backend, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "events.csv"
    export, file = exported(backend, format="csv")
    _begun(backend, output, file[:1000])
    before = len(backend.get("/v1/exports").json["data"])
    assert _run(environment, output).returncode == 0
    assert output.read_bytes() == file
    assert len(backend.get("/v1/exports").json["data"]) == before
    assert download(backend, export).body == file


def test_a_file_with_wrong_bytes_is_not_given(backend: Backend, environment: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "events.csv"
    _begun(backend, output, b"wrong")
    ran = _run(environment, output)
    assert (ran.returncode, output.exists()) == (1, False)
    assert "differs from the export" in ran.stderr
    assert _run(environment, output).returncode == 0
    assert list(csv_rows(output.read_bytes()))


def test_the_state_of_another_export_is_not_used(backend: Backend, environment: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "events.csv"
    _begun(backend, output, b"", entity_id="another")
    ran = _run(environment, output)
    assert ran.returncode == 1
    assert "of another export" in ran.stderr


def test_an_export_that_the_backend_no_longer_has_begins_anew(
    backend: Backend, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "events.csv"
    export = _begun(backend, output, b"old")
    assert backend.send("DELETE", f"/v1/exports/{export['id']}").status == 200
    assert _run(environment, output).returncode == 0
    assert len(list(csv_rows(output.read_bytes()))) == 3000


def test_an_interrupted_command_continues_with_the_same_export(backend: Backend, tmp_path: Path) -> None:
    key = backend.add_account()
    assert backend.export(span(event(9000)), key=key).rejected == 0
    environment = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key}
    file = backend.data_dir / "accounts.sqlite"
    with closing(Accounts(file)) as accounts:
        held = Jobs(accounts.database).add(backend.get("/v1/me", key).json["id"], "held", {}, actor="key_1")
    _set_lease(file, held.id, "running", "9e15")
    output = tmp_path / "events.csv"
    command = [sys.executable, "-m", "infraprism.cli", "export", *PERIOD, "--output", str(output)]
    process = subprocess.Popen(
        command, env=clean_environment(**environment), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "events.csv.export").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to continue" in errors
    _set_lease(file, held.id, "failed", "0")
    assert _run(environment, output).returncode == 0
    (export,) = backend.get("/v1/exports", key).json["data"]
    assert export["state"] == "succeeded"
    assert len(list(csv_rows(output.read_bytes()))) == 1


def _set_lease(file: Path, job_id: str, state: str, until: str) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute(
            "UPDATE jobs SET state = ?, lease_owner = 'other', lease_until_ms = ?, expires_ms = 9e15 WHERE id = ?",
            (state, float(until), job_id),
        )
        other.commit()
