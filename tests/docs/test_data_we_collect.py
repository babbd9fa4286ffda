"""docs/data-we-collect.md lists what the databases and the data directory have, and names a test for each line."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism import backend as backend_package
from infraprism.backend.data_inventory import document
from infraprism.backend.data_inventory.promises import PROMISES, Promise
from infraprism.backend.data_inventory.stored import EVENT_COLUMNS, FILES, SUM_COLUMNS, TABLES
from infraprism.backend.relational.metadata import METADATA
from infraprism.backend.retention.periods import PERIODS
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.measured_rows import TOKEN_FIELDS
from infraprism.cli.main import COMMANDS
from infraprism.schema.fields import FIELDS

ROOT = Path(__file__).resolve().parents[2]
_MEASURES = {
    "calls", "failed_calls", "unpriced_calls", "unpriced_failed_calls", "total_cost", "latency_ms", "latency",
    "first_time", "last_time", *TOKEN_FIELDS,
    *(f"calls_with_{name}" for name in TOKEN_FIELDS), *(f"calls_without_{name}" for name in TOKEN_FIELDS),
}  # fmt: skip


def _import_tables() -> None:
    for module in pkgutil.walk_packages(backend_package.__path__, "infraprism.backend."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


def test_the_page_is_generated_from_the_tables() -> None:
    command = "python -m infraprism.backend.data_inventory.document > docs/data-we-collect.md"
    assert (ROOT / "docs" / "data-we-collect.md").read_text() == document.markdown(), f"run: {command}"


def test_every_column_of_the_database_is_listed() -> None:
    _import_tables()
    assert {table.name: sorted(table.c.keys()) for table in METADATA.sorted_tables} == {
        name: sorted(table.columns) for name, table in TABLES.items()
    }


def test_the_listed_periods_are_those_that_are_applied() -> None:
    listed = {name: table.kept for name, table in TABLES.items()}
    assert {one.table: one.period for one in PERIODS if one.table in listed} == {
        one.table: listed[one.table] for one in PERIODS if one.table in listed
    }


def test_every_file_of_the_data_directory_is_listed(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Backend(data_dir) as backend:
        assert backend.export(span(event(1))).rejected == 0
        assert backend.events()
    found = {re.sub(r"-(journal|wal|shm)$", "", path.name) for path in data_dir.iterdir()}
    assert found <= set(FILES)
    assert {"accounts.sqlite", "store", "log"} <= found


def test_every_column_of_the_store_is_listed(tmp_path: Path) -> None:
    with closing(EmbeddedDatabase(tmp_path / "store", computes_aggregates=False)) as database:
        database.aggregates.compute_all()  # creates the tables of sums
        rows = database.read(
            "SELECT table, groupArray(name) AS names FROM system.columns WHERE database = currentDatabase()"
            " GROUP BY table",
            {},
        )
    columns = {row["table"]: set(row["names"]) for row in map(json.loads, rows)}
    fields = {field.name for field in FIELDS}
    assert columns.pop("events") == set(EVENT_COLUMNS) | fields
    assert columns
    assert set().union(*columns.values()) <= set(SUM_COLUMNS) | fields | _MEASURES


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.line)
def test_each_line_names_a_test_that_exists_and_a_command(promise: Promise) -> None:
    file, _, function = promise.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert function in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    program, command, *_ = shlex.split(promise.command)
    assert program == "infraprism"
    assert command in COMMANDS
