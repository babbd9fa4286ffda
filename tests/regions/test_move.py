"""An account is moved between two regions with a store each: nothing is lost, doubled, or left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment, infraprism
from tests.kit.events import START_NS, event
from tests.kit.ports import free_port
from tests.kit.postgresql import PostgreSQL, postgresql
from tests.kit.raw_files import files_with

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.moves import PATH

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "1"))
DAY_NS: Final = 86_400_000_000_000
PERIOD: Final = {"start_date": "2026-01-01", "end_date": "2029-12-31"}


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


class Regions:
    """The servers of us and eu. An account of us has 300 events of three days, and one of eu has some."""

    def __init__(self, directory: Path, accounts_url: str, stack: ExitStack) -> None:
        self.accounts_url = accounts_url
        self._stack = stack
        ports = {"us": free_port(), "eu": free_port()}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self._settings = {
            name: {"region": name, "regions": self.urls, "accounts": accounts_url} for name in ("us", "eu")
        }
        self._places = {name: (directory / name, port) for name, port in ports.items()}
        self.servers = {name: self.start(name) for name in ports}
        self.ids, self.keys = {}, {}
        with closing(Accounts(accounts_url)) as accounts:
            for name in ports:
                account = accounts.add(region=name)
                self.ids[name], self.keys[name] = account.id, accounts.add_key(account.id)
        sent = [
            span(
                event(
                    number, timestamp_ns=START_NS + number % 3 * DAY_NS + number * 1_000_000, entity_id="moved-customer"
                )
            )
            for number in range(1, 301)
        ]
        assert self.servers["us"].export(*sent, key=self.keys["us"]).rejected == 0
        assert self.servers["us"].export(*sent[:1], key=self.keys["us"]).rejected == 0
        assert self.servers["eu"].export(*sent[:5], key=self.keys["eu"]).rejected == 0

    def start(self, name: str) -> Backend:
        data, port = self._places[name]
        return self._stack.enter_context(Backend(data, port=port, settings=self._settings[name]))

    def command(self, to: str) -> list[str]:
        return [
            "account", "move", "--account", self.ids["us"], "--to", to, "--target", self.urls[to],
            "--accounts", self.accounts_url,
        ]  # fmt: skip

    def costs(self, name: str) -> Any:
        """The figures of the account of us."""
        answer = self.servers[name].get("/v1/analytics/costs", self.keys["us"], group_by="day,entity", **PERIOD)
        assert answer.status == 200, answer.body
        return answer.json

    def check(self, expected: Any) -> None:
        """The account is in eu, once, and not in us; the account of eu is as it was."""
        assert self.costs("eu") == expected
        assert len(self.servers["eu"].events(self.keys["us"])) == 300
        assert len(self.servers["eu"].events(self.keys["eu"])) == 5
        assert self.servers["us"].get("/v1/events", self.keys["us"]).status == 421
        assert files_with(self.servers["us"].data_dir, "moved-customer") == []
        assert files_with(self.servers["us"].data_dir, self.ids["us"]) == []
        assert not list((self.servers["eu"].data_dir / "moving").glob("*"))
        with closing(Accounts(self.accounts_url)) as accounts:
            actions = [entry.action for entry in AuditLog(accounts.database).entries(self.ids["us"])]
            assert actions.count("account.moved") == 1


@pytest.fixture
def regions(tmp_path: Path, database: PostgreSQL, request: pytest.FixtureRequest) -> Iterator[Regions]:
    url = database.new_database(f"move-{abs(hash(request.node.name))}")
    with ExitStack() as stack:
        yield Regions(tmp_path, url, stack)


def test_an_account_is_moved_with_all_its_events(regions: Regions) -> None:
    expected = regions.costs("us")
    ran = infraprism(*regions.command("eu"), timeout_s=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "300 events" in ran.stdout
    regions.check(expected)
    again = regions.servers["eu"].export(
        span(event(7, timestamp_ns=START_NS + DAY_NS + 7_000_000)), key=regions.keys["us"]
    )
    assert again.rejected == 0
    assert len(regions.servers["eu"].events(regions.keys["us"])) == 300
    ran = infraprism(*regions.command("eu"))
    assert ran.returncode == 1
    assert "nothing to move" in ran.stderr


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_move_continues_after_kills_of_both_servers(regions: Regions, seed: int) -> None:
    chance, expected = random.Random(seed), regions.costs("us")
    running = subprocess.Popen(
        [sys.executable, "-m", "infraprism.cli", *regions.command("eu")], env=clean_environment()
    )
    for name in chance.sample(("us", "eu"), 2):
        threading.Event().wait(chance.random() * 8)
        regions.servers[name].stop(signal.SIGKILL)
        regions.servers[name] = regions.start(name)
    assert running.wait(timeout=240) == 0
    regions.check(expected)


def test_a_move_to_a_server_that_cannot_be_reached_leaves_the_account_where_it_is(regions: Regions) -> None:
    command = regions.command("eu")
    command[command.index("--target") + 1] = "http://127.0.0.1:9"
    ran = infraprism(*command, timeout_s=120)
    assert ran.returncode == 1
    assert "cannot be reached" in ran.stderr
    assert len(regions.servers["us"].events(regions.keys["us"])) == 300


def test_a_move_can_be_given_up(regions: Regions) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "infraprism.cli", *regions.command("eu")],
        env=clean_environment(),
        stderr=subprocess.PIPE,
    )
    until = threading.Event()
    while regions.servers["us"].get("/v1/events", regions.keys["us"]).status == 200:
        until.wait(0.01)
    moving = regions.servers["us"].get("/v1/events", regions.keys["us"])
    regions.servers["eu"].stop(signal.SIGKILL)
    assert (moving.status, moving.json["error"]["code"]) == (503, "account_moving")
    assert regions.servers["us"].export(span(event(900)), key=regions.keys["us"]).status == 503
    ran = infraprism(
        "account", "move", "--account", regions.ids["us"], "--give-up", "--accounts", regions.accounts_url
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    running.communicate(timeout=120)
    assert running.returncode == 1
    while regions.servers["us"].get("/v1/events", regions.keys["us"]).status != 200:
        until.wait(0.1)
    assert len(regions.servers["us"].events(regions.keys["us"])) == 300


def test_rows_are_accepted_only_from_a_region_and_only_of_an_account_that_is_moved(regions: Regions) -> None:
    url = regions.urls["eu"] + PATH.format(account_id=regions.ids["us"])
    for key in ("", regions.keys["us"], "0" * 64):
        assert requests.post(url, b"", headers={"authorization": f"Bearer {key}"}, timeout=20).status_code == 401
    with closing(Accounts(regions.accounts_url)) as accounts:
        headers = {"authorization": f"Bearer {accounts.secret('regions').hex()}"}
    for method in ("GET", "POST", "DELETE"):
        assert requests.request(method, url, headers=headers, timeout=20).status_code == 409
    assert len(regions.servers["eu"].events(regions.keys["eu"])) == 5
