from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.cluster.conftest import new_database, postgresql_server
from tests.kit.accounts import Mailbox, Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts

__all__ = ["new_database", "postgresql_server"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty database: a file, or a database of a real PostgreSQL server."""
    if request.param == "sqlite":
        return tmp_path / "accounts.sqlite"
    found: str = request.getfixturevalue("new_database")()
    return found


@pytest.fixture
def accounts(location: Path | str, clock: Clock) -> Iterator[Accounts]:
    with closing(Accounts(location, clock)) as opened:
        yield opened


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def organisation(accounts: Accounts, mailbox: Mailbox) -> Organisation:
    """An account with an owner, an admin and a viewer, who can log in."""
    return Organisation(accounts, mailbox)
