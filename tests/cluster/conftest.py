from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from tests.backend.conftest import account, new_event
from tests.kit.backend import Backend
from tests.kit.clickhouse_front import ClickHouseFront
from tests.kit.postgresql import PostgreSQL, postgresql

__all__ = ["account", "new_event"]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgresql_server: PostgreSQL) -> Callable[[], str]:
    """Creates an empty database and returns its URL."""
    numbers = itertools.count(1)
    return lambda: postgresql_server.new_database(f"test_{next(numbers)}")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[Backend]:
    """A node with its events on a server and its accounts in PostgreSQL."""
    directory = tmp_path_factory.mktemp("node")
    with ClickHouseFront(directory / "server") as front:
        settings = {"store": front.url(), "accounts": new_database()}
        with Backend(directory / "data", settings=settings) as running:
            yield running
