"""Each format, read by another program, has the events of the REST API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.exports import csv_rows, exported, json_rows, parquet_rows, unzipped
from tests.kit.random_calls import FAILED, random_calls, sums

from infraprism.schema import Event

HOSTILE = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "'=1",
    "'",
    '"',
    'a"b,c',
    "=cmd|' /C calc'!A0",
    "ü€\N{GRINNING FACE}",
    "\\N",
    "\\",
)
CALLS: list[Event] = [
    *random_calls(500),
    *(
        event(10_000 + number, entity_id=text, session_id=text, tags={"feature": text, "other": "x"})
        for number, text in enumerate(HOSTILE)
    ),
    event(20_000, model="@cf/meta/llama", cost_usd=Decimal("999999999999999999.999999999999999999")),
    event(20_001, cost_usd=Decimal("0.000000000000000001"), **FAILED),
    event(20_002, input_tokens=10**12, cache_read_tokens=3, service_tier="batch", streamed=True),
    event(20_003, success=False, error_type="other", error_code="-1"),
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("exports") / "data") as running:
        yield running


@pytest.fixture(scope="module", params=[False, True], ids=["", "usage detail"])
def key(backend: Backend, request: pytest.FixtureRequest) -> str:
    found = backend.add_account(usage_detail=request.param)
    assert backend.export(*(span(one, usage_detail=True) for one in CALLS), key=found).rejected == 0
    return found


def _expected(backend: Backend, key: str, **filters: Any) -> list[dict[str, Any]]:
    """The events of the REST API, oldest first."""
    return sorted(backend.events(key, **filters), key=lambda one: (one["timestamp"], one["id"]))


def test_json_has_the_lines_of_the_rest_api(backend: Backend, key: str) -> None:
    export, file = exported(backend, key, format="json")
    expected = _expected(backend, key)
    assert len(expected) == len(CALLS)
    assert json_rows(file) == expected
    assert (export["rows"], export["bytes"]) == (len(CALLS), len(file))
    assert export["sha256"] == hashlib.sha256(file).hexdigest()


def test_csv_has_the_same_values_when_the_protection_is_undone(backend: Backend, key: str) -> None:
    _, file = exported(backend, key, format="csv")
    assert list(csv_rows(file)) == _expected(backend, key)


def test_parquet_has_the_same_values_with_exact_decimals(backend: Backend, key: str, tmp_path: Path) -> None:
    _, file = exported(backend, key, format="parquet")
    assert parquet_rows(file, tmp_path) == _expected(backend, key)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_compressed_file_has_the_same_bytes(backend: Backend, key: str, form: str) -> None:
    _, plain = exported(backend, key, format=form)
    _, compressed = exported(backend, key, format=form, compression="gzip")
    assert unzipped(compressed) == plain
    assert len(compressed) < len(plain) / 3


def test_no_value_of_a_csv_file_begins_a_formula(backend: Backend, key: str) -> None:
    _, file = exported(backend, key, format="csv")
    texts = [text for line in file.decode().splitlines() for text in line.split(",")]
    assert any(text.startswith("\"'=") for text in texts)
    assert not [text for text in texts if text.lstrip('"').startswith(("=", "+", "@", "\t", "\r"))]
    assert not [text for text in texts if text.lstrip('"').startswith("-")]


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"entity_id": "acme"},
        {"entity_id": ["acme", "globex"], "success": False},
        {"session_id": "s1", "model": "gpt-4o"},
        {"tags": {"feature": "chat"}},
        {"tags": "feature:chat", "none": ["session"]},
        {"cost_status": "unknown_model"},
        {"entity_id": "=1+1"},
        {"tags": {"feature": 'a"b,c'}},
        {"entity_id": "nothing"},
        {"start_date": "2026-02-01T10:00:00+02:00", "end_date": "2026-02-20", "time_zone": "Europe/Berlin"},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_file_has_the_filtered_events_and_the_sums_of_analytics(
    backend: Backend, key: str, filters: dict[str, Any], form: str, tmp_path: Path
) -> None:
    read = {"csv": lambda file: list(csv_rows(file)), "json": json_rows, "parquet": lambda f: parquet_rows(f, tmp_path)}
    export, file = exported(backend, key, format=form, **filters)
    query = {"start_date": "2026-01-01", "end_date": "2026-12-31", **filters}
    if isinstance(tags := query.get("tags"), dict):
        query["tags"] = ",".join(f"{name}:{text.replace(',', chr(92) + ',')}" for name, text in tags.items())
    query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    assert read[form](file) == _expected(backend, key, **query)
    found = backend.get("/v1/analytics/costs", key, **query).json
    summed = {**found["summary"], **(found["data"][0] if found["data"] else {})}
    expected = {name: summed.get(name, 0) for name in export["totals"]}
    assert export["totals"] == expected


def test_the_sums_of_a_file_are_exact(backend: Backend, key: str) -> None:
    export, _ = exported(backend, key, format="csv")
    expected = sums(CALLS)
    assert export["totals"] == {name: expected[name] for name in export["totals"]} | {
        "total_output_tokens": export["totals"]["total_output_tokens"]
    }
