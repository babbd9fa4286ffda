"""docs/export.md: its commands run, and its tables list the real fields."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment
from tests.kit.documented_commands import ROOT, commands
from tests.kit.events import event
from tests.kit.exports import csv_rows, ended, exported
from tests.kit.random_calls import FIRST_NS

from infraprism.backend.api import export_routes as routes
from infraprism.backend.api.export_request import ExportRequest
from infraprism.backend.exports.archive_tables import ARCHIVED
from infraprism.backend.exports.chunks import CHUNK_ROWS

PAGE = ROOT / "docs" / "export.md"
DOCS = PAGE.read_text("utf-8")
COMMANDS = [command.text for command in commands(PAGE)]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("docs") / "data") as running:
        assert running.export(*(span(event(number, timestamp_ns=FIRST_NS + number)) for number in (1, 2))).rejected == 0
        yield running


def _table(head: str) -> set[str]:
    """The names in the first column of a table."""
    table = DOCS.partition(f"| {head} |")[2].partition("\n\n")[0]
    return {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize("command", [text for text in COMMANDS if text.startswith("infraprism")])
def test_each_export_command_writes_its_file(backend: Backend, tmp_path: Path, command: str) -> None:
    environment = clean_environment(INFRAPRISM_ENDPOINT=backend.url, INFRAPRISM_API_KEY=backend.key)
    (tmp_path / "infraprism").write_text(f'#!/bin/sh\nexec {sys.executable} -m infraprism.cli "$@"\n')
    (tmp_path / "infraprism").chmod(0o755)
    ran = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path,
        env={**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    (output,) = set(tmp_path.iterdir()) - {tmp_path / "infraprism"}
    if output.suffix == ".zip":
        with zipfile.ZipFile(output) as archive:
            names = {name.replace("tables/", "") for name in archive.namelist()}
        tables = names - {"manifest.json", "events.ndjson.gz", "daily_sums.ndjson"}
        assert len(names) == len(tables) + 3
        assert tables <= {f"{name}.ndjson" for name in ARCHIVED}
        assert ("accounts.ndjson" in tables) == ("--entity" not in command)
    else:
        assert len(list(csv_rows(output.read_bytes()))) == 2


def test_the_curl_example_creates_an_export(backend: Backend) -> None:
    (command,) = [text for text in COMMANDS if text.startswith("curl")]
    ran = subprocess.run(
        ["/bin/sh", "-c", command.replace("http://localhost:4318", backend.url).replace("curl", "curl -s", 1)],
        env={**os.environ, "INFRAPRISM_API_KEY": backend.key, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended(backend, json.loads(ran.stdout)["id"])["rows"] == 2


def test_the_table_of_the_request_lists_its_fields() -> None:
    assert _table("field | value") == set(ExportRequest.model_fields)


def test_the_table_of_the_export_lists_its_fields(backend: Backend) -> None:
    export, _ = exported(backend, format="csv")
    job = backend.get(f"/v1/jobs/{export['id']}").json
    described = DOCS.partition("## Export\n")[2].partition("\n\n`DELETE")[0]
    names = {
        name
        for line in described.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert names | set(job) == set(export)


def test_the_limits_are_those_of_the_server() -> None:
    assert f"{routes.MAX_RUNNING} exports of the account have not ended, or {routes.MAX_KEPT} files are kept" in DOCS
    assert f"chunks of {CHUNK_ROWS:,} events" in DOCS
