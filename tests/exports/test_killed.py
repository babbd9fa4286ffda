"""The server is killed while exports run: each continues at its last chunk, and its file is complete or absent."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import pytest
from benchmarks import query_events
from tests.kit.backend import Backend
from tests.kit.exports import csv_rows, download, ended, json_rows, parquet_rows, unzipped

from infraprism.backend.store.embedded import EmbeddedDatabase

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "3"))
_EVENTS: Final = 200_000
_KILLS: Final = 4
_FORMATS: Final = (("json", "gzip"), ("csv", "none"), ("parquet", "none"))
_PERIOD: Final = {"start_date": "2025-01-01", "end_date": "2030-01-01"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with the events of one account."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    with Backend(data_dir) as backend:
        account_id = backend.get("/v1/me").json["id"]
    database = EmbeddedDatabase(data_dir / "store", computes_aggregates=False)
    client = clickhouse_connect.get_client(interface="chdb", path=str(data_dir / "store"))
    query_events.generate(client.command, account_id, _EVENTS, 0, query_events.now_ms())
    client.close()
    database.close()
    yield data_dir
    shutil.rmtree(data_dir)


def _rows(form: str, compression: str, file: bytes, directory: Path) -> list[dict[str, Any]]:
    text = unzipped(file) if compression == "gzip" else file
    if form == "parquet":
        return parquet_rows(text, directory)
    return json_rows(text) if form == "json" else list(csv_rows(text))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_an_export_continues_after_kills_and_is_complete(filled: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    form, compression = _FORMATS[seed % len(_FORMATS)]
    data_dir = tmp_path / "data"
    shutil.copytree(filled, data_dir, symlinks=True)
    export_id, rows, kills = "", 0, 0
    for _ in range(_KILLS):
        with Backend(data_dir) as backend:
            if not export_id:
                body = {**_PERIOD, "format": form, "compression": compression}
                export_id = backend.send("POST", "/v1/exports", body).json["id"]
            export = backend.get(f"/v1/exports/{export_id}").json
            assert export["rows"] >= rows
            kill_at = export["rows"] + chance.randrange(1, _EVENTS // 3)
            while export["state"] in ("queued", "running") and export["rows"] < kill_at:
                export = backend.get(f"/v1/exports/{export_id}").json
            rows = export["rows"]
            kills += export["state"] != "succeeded"
            backend.process.send_signal(signal.SIGKILL)
        complete = [path for path in (data_dir / "exports").rglob("*.*") if path.suffix not in (".part", ".converted")]
        assert len(complete) <= 1
        assert all(path.stat().st_size for path in complete)
    assert kills
    with Backend(data_dir) as backend:
        export = ended(backend, export_id)
        assert export["state"] == "succeeded"
        file = download(backend, export).body
        summed = backend.get("/v1/analytics/costs", **_PERIOD).json
    found = _rows(form, compression, file, tmp_path)
    assert len(found) == len({row["id"] for row in found}) == export["rows"] == _EVENTS
    assert [row["timestamp"] for row in found] == sorted(row["timestamp"] for row in found)
    expected = {**summed["summary"], **summed["data"][0]}
    assert export["totals"] == {name: expected[name] for name in export["totals"]}
    assert export["totals"]["total_input_tokens"] == sum(row["input_tokens"] or 0 for row in found)


def test_a_running_export_does_not_delay_the_end_of_the_server(filled: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(filled, data_dir, symlinks=True)
    with Backend(data_dir) as backend:
        export = backend.send("POST", "/v1/exports", {**_PERIOD, "format": "parquet"}).json
        while backend.get(f"/v1/exports/{export['id']}").json["rows"] == 0:
            pass
        status, errors = backend.stop()
        assert (status, errors) == (0, "")
    with Backend(data_dir) as backend:
        assert ended(backend, export["id"])["rows"] == _EVENTS
