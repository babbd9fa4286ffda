"""Connections to the embedded engine, and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.database import Layout, StoreError
from infraprism.backend.store.parts import parts_in
from infraprism.backend.store.quoting import literal


def connect(directory: Path, settings: Mapping[str, Any]) -> Client:
    """A client of the store in a directory, with settings of the engine."""
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory.resolve()))
    for name, value in settings.items():
        client.set_client_setting(name, value)
    return client


def format_schema(layout: Layout) -> str:
    """The setting that tells the layout of protobuf messages."""
    # The path of the schema file is passed: for a schema passed as text the engine keeps a copy in the working
    # directory.
    return f"format_schema = {literal(f'{layout.schema}:{layout.message}')}"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Replace the errors of the engine by StoreError, without their messages."""
    try:
        yield
    except ClickHouseError as error:
        raise StoreError(getattr(error, "code", None) or 0, parts_in(str(error))) from None
