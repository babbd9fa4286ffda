"""Exports of a backend, as tests request, await and download them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.kit.backend import Answer, Backend

PERIOD = {"start_date": "2026-01-01", "end_date": "2026-12-31"}
_WAIT_S = 120.0


def ended(backend: Backend, export_id: str, key: str | None = None) -> dict[str, Any]:
    """An export that has ended."""
    until_s = time.monotonic() + _WAIT_S
    while time.monotonic() < until_s:
        answer = backend.get(f"/v1/exports/{export_id}", key)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        if found["state"] in ("succeeded", "failed", "cancelled"):
            return found
    raise AssertionError(f"the export has not ended: {found}")


def exported(backend: Backend, key: str | None = None, **body: Any) -> tuple[dict[str, Any], bytes]:
    """A new export that has succeeded, and its file."""
    answer = backend.send("POST", "/v1/exports", {**PERIOD, **body}, key)
    assert answer.status == 202, answer.body
    export = ended(backend, answer.json["id"], key)
    assert export["state"] == "succeeded", export
    file = download(backend, export)
    assert file.status == 200, file.body
    return export, file.body


def download(backend: Backend, export: dict[str, Any], **headers: str) -> Answer:
    """The file of an export. Needs no key."""
    return backend.http(export["link"], None, headers)


def json_rows(file: bytes) -> list[dict[str, Any]]:
    """The events of a file of JSON lines."""
    return [json.loads(line, parse_float=Decimal) for line in file.splitlines()]


def csv_rows(file: bytes) -> Iterator[dict[str, Any]]:
    """The events of a CSV file, without the protection against formulas, in the types of the REST API."""
    for row in csv.DictReader(io.StringIO(file.decode(), newline="")):
        yield {name: _csv_value(name, text) for name, text in row.items()}


def _csv_value(name: str, text: str) -> Any:
    if name == "tags":
        return json.loads(text)
    if name in ("success", "streamed"):
        return {"true": True, "false": False, "": None}[text]
    if text == "":
        return None
    if name.endswith(("_tokens", "_ms", "_searches")):
        return int(text)
    return Decimal(text) if name == "cost_usd" else text.removeprefix("'")


def parquet_rows(file: bytes, directory: Path) -> list[dict[str, Any]]:
    """The events of a Parquet file, as pyarrow reads them, in the types of the REST API."""
    import pyarrow.parquet  # noqa: PLC0415  # large

    path = directory / "read.parquet"
    path.write_bytes(file)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        row["timestamp"] = row["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row["tags"] = dict(row["tags"])
    return rows


def unzipped(file: bytes) -> bytes:
    """The content of a gzip file."""
    return gzip.decompress(file)
