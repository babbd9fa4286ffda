from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from tests.kit.postgresql import PostgreSQL, postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgresql_server: PostgreSQL) -> Callable[[], str]:
    """Creates an empty database and returns its URL."""
    numbers = itertools.count(1)
    return lambda: postgresql_server.new_database(f"test_{next(numbers)}")
