"""`infraprism members`, `keys` and `account`, as docs/accounts.md shows them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.command import infraprism
from tests.kit.documented_commands import ROOT, commands
from tests.kit.postgresql import postgresql

from infraprism.backend.accounts import Accounts, Key
from infraprism.backend.accounts.logins import Logins
from infraprism.schema import exact_json

PASSWORD = "a password of the tests"
_TOKEN = re.compile(r"/auth/(\S+)\?token=([0-9a-f]{64})")


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path | str, tuple[str, ...]]]:
    """The accounts, with an account, and the options of the commands."""
    if request.param == "SQLite":
        file = tmp_path / "accounts.sqlite"
        with closing(Accounts(file)) as accounts:
            accounts.add_with_key()
        yield file, ("--data-dir", str(tmp_path))
        return
    with postgresql() as server:
        with closing(Accounts(server.url())) as accounts:
            accounts.add_with_key()
        yield server.url(), ("--accounts", server.url())


def succeeded(options: tuple[str, ...], *command: str) -> str:
    ran = infraprism(*command, *options)
    assert (ran.returncode, ran.stderr) == (0, ""), command
    return ran.stdout


def failed(options: tuple[str, ...], *command: str) -> str:
    ran: subprocess.CompletedProcess[str] = infraprism(*command, *options)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    return ran.stderr


def test_links_of_the_commands_make_members_who_can_log_in(location: tuple[Path | str, tuple[str, ...]]) -> None:
    where, options = location
    setup = _TOKEN.search(succeeded(options, "account", "setup-link", "--public-url", "https://x.example/"))
    added = succeeded(options, "members", "add", "Ada@example.com", "--role", "admin", "--name", "Ada")
    invitation = _TOKEN.search(added)
    assert setup is not None
    assert invitation is not None
    assert "http://localhost:4318/auth/accept-invitation?token=" in added
    with closing(Accounts(where)) as accounts:
        logins = Logins(accounts)
        owner = logins.setup(setup[2], email="olga@example.com", name="Olga", password=PASSWORD).member
        assert owner.role == "owner"
        assert logins.accept_invitation(invitation[2], password=PASSWORD).member.name == "Ada"
        reset = _TOKEN.search(succeeded(options, "members", "reset-link", "ada@example.com"))
        assert reset is not None
        assert reset[1] == "reset-password"
        logins.reset_password(reset[2], PASSWORD + "2")
        assert logins.login(email="ada@example.com", password=PASSWORD + "2").member.role == "admin"
    listed = [exact_json.loads(line) for line in succeeded(options, "members", "list", "--json").splitlines()]
    assert [(one["email"], one["role"], one["status"]) for one in listed] == [
        ("ada@example.com", "admin", "active"),
        ("olga@example.com", "owner", "active"),
    ]
    assert "other owner" in failed(options, "members", "remove", "olga@example.com")
    assert "other owner" in failed(options, "members", "set-role", owner.id, "viewer")
    assert "already" in failed(options, "members", "add", "ADA@example.com")
    assert "no such member" in failed(options, "members", "remove", "nobody@example.com")
    assert "in ASCII" in failed(options, "members", "add", "nobody")


def test_the_documented_commands_run(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        key = Key.id_of(accounts.add_with_key())
        Logins(accounts).setup(
            Logins(accounts).setup_link(accounts.all()[0].id), email="o@example.com", name="O", password=PASSWORD
        )
    found = [command.text for command in commands(ROOT / "docs" / "accounts.md")]
    assert len(found) == 8
    for text in found:
        command = shlex.split(text.replace("key_0123456789ab", key))
        succeeded(("--data-dir", str(tmp_path)), *command[1:])


def test_a_key_is_created_with_scopes_and_rotated_with_an_overlap(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path))
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        accounts.add_with_key()
        made = succeeded(options, "keys", "create", "--name", "app", "--scopes", "ingest")
        old = made.strip().partition("=")[2]
        rotated = succeeded(options, "keys", "rotate", old, "--overlap-hours", "1")
        new = rotated.strip().partition("=")[2]
        for key in (old, new):
            accepted = accounts.find_key(key)
            assert accepted is not None
            assert accepted.scopes == {"ingest"}
        assert "revoked or rotated" in failed(options, "keys", "rotate", old)
        lines = [exact_json.loads(line) for line in succeeded(options, "keys", "list", "--json").splitlines()]
        named = {line["id"]: line for line in lines if line["name"] == "app"}
        assert set(named) == {Key.id_of(old), Key.id_of(new)}
        assert named[Key.id_of(old)]["expires_at"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("company", "Acme Corp"), "company is Acme Corp"),
        (("time-zone", "Europe/Berlin"), "time-zone is Europe/Berlin"),
        (("plan", "free"), "plan is free (60 requests a minute, events are kept for 7 days)"),
        (
            ("plan", "enterprise", "--requests-per-minute", "5000"),
            "plan is enterprise (5000 requests a minute, events are not deleted)",
        ),
    ],
)
def test_a_setting_is_set_and_shown(tmp_path: Path, command: tuple[str, ...], shown: str) -> None:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        accounts.add()
    options = ("--data-dir", str(tmp_path))
    assert succeeded(options, "account", "set", *command).endswith(f": {shown}\n")
    assert shown in succeeded(options, "account", "show")


@pytest.mark.parametrize(
    "arguments",
    [
        ["account", "set", "plan", "gold"],
        ["account", "set", "plan", "free", "--retention-days", "x"],
        ["account", "set", "company", "X", "--retention-days", "1"],
        ["account", "setup-link", "--public-url", "localhost"],
        ["keys", "create", "--scopes", "write"],
        ["keys", "create", "--scopes", ""],
        ["keys", "rotate", "key_0", "--overlap-hours", "721"],
        ["members"],
        ["members", "add", "a@b.example", "--role", "god"],
        ["members", "set-role", "a@b.example"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    assert infraprism(*arguments).returncode == 2


def test_a_plan_has_no_own_limits(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        accounts.add()
    for limit in ("--requests-per-minute", "--retention-days"):
        message = failed(("--data-dir", str(tmp_path)), "account", "set", "plan", "free", limit, "5")
        assert "only an enterprise account" in message
