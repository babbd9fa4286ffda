"""`infraprism keys` and `infraprism account` on the data directory of a running server."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event as Signal

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.events import event

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.records import hash_of
from infraprism.schema import exact_json

EFFECTIVE_S = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("keys") / "data", key=None) as running:
        running.key = next(line for line in running.lines if "=ip-" in line).strip().partition("=")[2]
        yield running


def keys(data: Path) -> list[dict[str, str | None]]:
    ran = infraprism("keys", "list", "--data-dir", str(data), "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    return [exact_json.loads(line) for line in ran.stdout.splitlines()]


def created(data: Path) -> str:
    ran = infraprism("keys", "create", "--data-dir", str(data))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("ip-") == 1
    return ran.stdout.strip().partition("=")[2]


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Whether the condition is true within the time that the documentation states."""
    deadline = time.monotonic() + EFFECTIVE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        Signal().wait(0.05)
    return False


def test_a_created_key_is_valid_at_once_and_only_its_hash_is_stored(server: Backend) -> None:
    key = created(server.data_dir)
    assert server.get("/v1/me", key).json == server.get("/v1/me").json
    assert all(key.encode() not in path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file())


def test_the_list_has_the_first_characters_of_each_key_and_no_key(server: Backend) -> None:
    key = created(server.data_dir)
    listed = infraprism("keys", "--data-dir", str(server.data_dir), "list")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[0].split() == [
        "id",
        "key",
        "name",
        "scopes",
        "account",
        "created",
        "last",
        "used",
        "expires",
        "revoked",
    ]
    assert f"{key[:8]}..." in listed.stdout
    assert key not in listed.stdout
    found = keys(server.data_dir)
    assert len(listed.stdout.splitlines()) == len(found) + 1
    assert len({one["id"] for one in found}) == len(found)


@pytest.mark.parametrize("by", ["id", "prefix", "key"])
def test_a_running_server_rejects_a_revoked_key_within_five_seconds(server: Backend, by: str) -> None:
    key = created(server.data_dir)
    assert server.get("/v1/me", key).status == 200
    assert server.export(span(event()), key=key).status == 200
    listed = next(one for one in keys(server.data_dir) if one["prefix"] == key[:8])
    ran = infraprism(
        "keys",
        "revoke",
        {"id": listed["id"] or "", "prefix": key[:8], "key": key}[by],
        "--data-dir",
        str(server.data_dir),
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert key not in ran.stdout
    assert becomes_true(
        lambda: server.get("/v1/me", key).status == 401 and server.export(span(event()), key=key).status == 401
    )
    assert server.get("/v1/me").status == 200
    assert next(one for one in keys(server.data_dir) if one["id"] == listed["id"])["revoked_at"]


def test_a_key_that_is_unknown_or_revoked_cannot_be_revoked(server: Backend) -> None:
    for text in ("key_000000000000", "ip-none", "ip-NEVERSHOWNNEVERSHOWN"):
        ran = infraprism("keys", "revoke", text, "--data-dir", str(server.data_dir))
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "infraprism: no such key: `infraprism keys list` shows the ids\n"
    key = created(server.data_dir)
    infraprism("keys", "revoke", key, "--data-dir", str(server.data_dir))
    again = infraprism("keys", "revoke", key, "--data-dir", str(server.data_dir))
    assert (again.returncode, again.stderr) == (1, "infraprism: the key is revoked already\n")


def test_a_new_key_can_be_created_after_the_last_one_was_revoked(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        key = accounts.add_with_key()
        ran = infraprism("keys", "revoke", key, "--data-dir", str(tmp_path))
        assert "has no key left: `infraprism keys create` creates one." in ran.stdout
        assert accounts.find_by_key(created(tmp_path)) is not None


def test_usage_detail_can_be_set_while_the_server_runs(server: Backend) -> None:
    for value in ("on", "off", "on"):
        ran = infraprism("account", "set", "usage-detail", value, "--data-dir", str(server.data_dir))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.endswith(f": usage-detail is {value}\n")
        shown = infraprism("account", "show", "--data-dir", str(server.data_dir))
        assert ran.stdout in shown.stdout
        assert becomes_true(lambda expected=value == "on": server.get("/v1/me").json["usage_detail"] is expected)
    detailed = event(7, cache_read_tokens=100)
    assert server.export(span(detailed, usage_detail=True)).rejected == 0
    assert server.get(f"/v1/events/{detailed.id}").json["cache_read_tokens"] == 100


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["keys", "list"], "--data-dir"),
        (["keys", "create"], "--data-dir"),
        (["account", "set", "usage-detail", "on"], "--data-dir"),
        (["account", "show"], "--data-dir"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_directory_without_accounts_is_an_error_and_is_not_created(
    tmp_path: Path, command: list[str], option: str
) -> None:
    ran = infraprism(*command, "--data-dir", str(tmp_path / "none"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1
    assert option in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_with_several_accounts_the_account_is_an_option(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        first, second = (accounts.add(), accounts.add())
        ran = infraprism("keys", "create", "--data-dir", str(tmp_path))
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "--account" in ran.stderr
        ran = infraprism("keys", "create", "--data-dir", str(tmp_path), "--account", second.id)
        found = accounts.find_by_key(ran.stdout.strip().partition("=")[2])
        assert found is not None
        assert found.id == second.id
        assert accounts.keys(first.id) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys"],
        ["keys", "destroy"],
        ["keys", "revoke"],
        ["account"],
        ["account", "set"],
        ["account", "set", "usage-detail", "maybe"],
        ["account", "set", "colour", "on"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    assert infraprism(*arguments).returncode == 2


@pytest.mark.parametrize(
    "action", [["keys", "list"], ["keys", "create"], ["keys", "revoke"], ["account", "set"]], ids=" ".join
)
def test_every_action_has_help_with_examples(action: list[str]) -> None:
    shown = infraprism(*action, "--help")
    assert shown.returncode == 0
    assert f"  infraprism {' '.join(action)}" in shown.stdout


def test_the_accounts_of_an_earlier_version_are_kept(tmp_path: Path) -> None:
    key = "ip-the-key-of-an-earlier-version-8Zq2"
    with closing(sqlite3.connect(tmp_path / "accounts.sqlite")) as earlier:
        earlier.executescript(
            "CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT, name TEXT, company TEXT, plan TEXT NOT NULL,"
            " usage_detail INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL) STRICT;"
            "CREATE TABLE keys (hash BLOB PRIMARY KEY, prefix TEXT NOT NULL, account_id TEXT NOT NULL"
            " REFERENCES accounts (id) ON DELETE CASCADE, created_at TEXT NOT NULL) STRICT;"
            "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);"
            "INSERT INTO accounts (id, plan, created_at) VALUES ('acc_1', 'self_hosted', '2026-01-01T00:00:00Z');"
        )
        earlier.execute("INSERT INTO keys VALUES (?, 'ip-the-k', 'acc_1', '2026-01-01T00:00:00Z')", [hash_of(key)])
        earlier.commit()
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        assert accounts.find_by_key(key) is not None
    assert [one["revoked_at"] for one in keys(tmp_path)] == [None]
