"""`infraprism store migrate`: all events and accounts of a data directory on a server, each once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.backend import Backend, request, span
from tests.kit.clickhouse_front import PASSWORD, ClickHouseFront
from tests.kit.command import clean_environment, infraprism
from tests.kit.events import START_NS, event

from infraprism.backend.accounts import Accounts

EVENTS = 3000
DAY_NS = 86_400 * 10**9


@pytest.fixture
def front(tmp_path: Path) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path / "server") as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with events of 40 days."""
    directory = tmp_path / "data"
    with Backend(directory) as backend:
        events = [
            event(number, timestamp_ns=START_NS - number % 40 * 5 * DAY_NS + number * 1000)
            for number in range(1, EVENTS + 1)
        ]
        assert backend.export_requests(request(map(span, events))).rejected == 0
    return directory


def migrate(data_dir: Path, front: ClickHouseFront, accounts: str) -> subprocess.CompletedProcess[str]:
    return infraprism(
        "store", "migrate", "--data-dir", str(data_dir), "--to", front.url(), "--accounts", accounts, timeout_s=120
    )


def test_everything_is_copied_once_also_after_an_interruption(
    data_dir: Path, front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    accounts = new_database()
    command = [
        sys.executable, "-m", "infraprism.cli", "store", "migrate",
        "--data-dir", str(data_dir), "--to", front.url(), "--accounts", accounts,
    ]  # fmt: skip
    killed = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert any(" of 40 days, " in line for line in killed.stdout)
    killed.kill()
    killed.communicate(timeout=30)
    copied = migrate(data_dir, front, accounts)
    while copied.returncode and "one that was killed counts for" in copied.stderr:
        copied = migrate(data_dir, front, accounts)
    assert copied.returncode == 0, copied.stderr
    assert "40 of 40 days" not in copied.stdout  # the first run has copied some
    assert "counts and sums of every account and day are equal" in copied.stdout
    again = migrate(data_dir, front, accounts)
    assert "days" not in again.stdout.replace("account and day", "")
    assert PASSWORD not in copied.stdout + copied.stderr + again.stderr
    with (
        Backend(data_dir) as before,
        Backend(tmp_path / "node", settings={"store": front.url(), "accounts": accounts}) as after,
    ):
        for path in ("/v1/me", "/v1/events", "/v1/entities"):
            assert after.get(path).body == before.get(path).body
        query = {"start_date": "2020-01-01", "group_by": "day"}
        assert after.get("/v1/analytics/costs", **query).json == before.get("/v1/analytics/costs", **query).json
        assert after.get("/v1/analytics/costs", **query).json["summary"]["total_events"] == EVENTS


def test_a_running_server_is_named(
    data_dir: Path, front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    accounts = new_database()
    with Backend(tmp_path / "node", settings={"store": front.url(), "accounts": accounts}):
        refused = migrate(data_dir, front, accounts)
    assert refused.returncode == 1
    assert "1 servers use clickhouse://127.0.0.1" in refused.stderr


def test_the_accounts_keep_their_keys(data_dir: Path, front: ClickHouseFront, new_database: Callable[[], str]) -> None:
    accounts = new_database()
    assert migrate(data_dir, front, accounts).returncode == 0
    with closing(Accounts(data_dir / "accounts.sqlite")) as here, closing(Accounts(accounts)) as there:
        assert here.all() == there.all()
        assert here.secret("cursor") == there.secret("cursor")
        for account in here.all():
            assert here.keys(account.id) == there.keys(account.id)
