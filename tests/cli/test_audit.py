"""`infraprism audit` and `GET /v1/audit`: the entries of commands, and what verification finds."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend
from tests.kit.command import infraprism
from tests.kit.postgresql import postgresql

from infraprism.backend.accounts import Accounts, Key
from infraprism.backend.audit.audit_log import AuditLog

DOCS = (Path(__file__).parents[2] / "docs" / "audit.md").read_text("utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with an account, and a log of three entries."""
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        accounts.add_with_key()
    created = infraprism("keys", "create", "--data-dir", str(tmp_path))
    key = created.stdout.strip().partition("=")[2]
    infraprism("keys", "revoke", key, "--data-dir", str(tmp_path))
    infraprism("account", "set", "usage-detail", "on", "--data-dir", str(tmp_path))
    return tmp_path


def listed(data: Path, *options: str) -> list[dict[str, Any]]:
    ran = infraprism("audit", "list", "--json", "--data-dir", str(data), *options)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line) for line in ran.stdout.splitlines()]


def verified(*options: str) -> tuple[int, str]:
    ran = infraprism("audit", "verify", *options)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def change(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "accounts.sqlite")) as other:
        other.execute(statement)
        other.commit()


def test_commands_record_what_they_change_without_its_value(data: Path) -> None:
    entries = listed(data)
    assert [(entry["number"], entry["actor"], entry["action"]) for entry in entries] == [
        (1, "operator", "key.created"),
        (2, "operator", "key.revoked"),
        (3, "operator", "setting.changed"),
    ]
    assert re.fullmatch(r"key_[0-9a-f]{12}", entries[0]["object"])
    assert entries[1]["object"] == entries[0]["object"]
    assert entries[2]["object"] == "usage_detail"


def test_a_failed_command_records_nothing(data: Path) -> None:
    assert infraprism("keys", "revoke", "key_000000000000", "--data-dir", str(data)).returncode == 1
    assert len(listed(data)) == 3


def test_entries_can_be_selected(data: Path) -> None:
    assert [entry["number"] for entry in listed(data, "--action", "key.revoked")] == [2]
    assert len(listed(data, "--since", "2026-01-01")) == 3
    assert listed(data, "--since", "2199-01-01") == []
    table = infraprism("audit", "list", "--limit", "1", "--data-dir", str(data)).stdout.splitlines()
    assert len(table) == 2
    assert "setting.changed" in table[1]


def test_an_intact_log_is_verified_also_as_a_file(data: Path, tmp_path: Path) -> None:
    head = listed(data)[-1]["hash"]
    file = tmp_path / "audit.jsonl"
    file.write_text(infraprism("audit", "list", "--json", "--data-dir", str(data)).stdout)
    for source in (("--data-dir", str(data)), ("--file", str(file))):
        status, output = verified(*source)
        assert status == 0
        assert f"3 entries are intact, head {head}" in output


def test_a_changed_and_a_removed_entry_are_found_also_in_a_file(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    lines = infraprism("audit", "list", "--json", "--data-dir", str(data)).stdout.splitlines(keepends=True)
    for changed in (lines[1:], [lines[0], lines[2]], [lines[0], lines[1].replace("operator", "system"), lines[2]]):
        file.write_text("".join(changed))
        assert verified("--file", str(file))[0] == 1
    change(data, "UPDATE audit_log SET actor = 'system' WHERE number = 2")
    status, output = verified("--data-dir", str(data))
    assert status == 1
    assert "entry 2 was changed" in output


def test_a_kept_head_shows_that_entries_at_the_end_were_removed(data: Path) -> None:
    entries = listed(data)
    assert verified("--data-dir", str(data), "--head", entries[1]["hash"])[0] == 0
    assert "1 entries were added later" in verified("--data-dir", str(data), "--head", entries[1]["hash"])[1]
    change(data, "DELETE FROM audit_log WHERE number = 3")
    assert verified("--data-dir", str(data))[0] == 0
    status, output = verified("--data-dir", str(data), "--head", entries[2]["hash"])
    assert status == 1
    assert "No entry has the expected hash" in output


@pytest.mark.parametrize("content", ["no json\n", "[]\n", '{"number": 1}\n', "\n", "\x00\n"])
def test_a_file_that_is_no_log_is_an_error_of_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other"
    file.write_text(content)
    ran = infraprism("audit", "verify", "--file", str(file))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"infraprism: line 1 of {file} is no entry of `infraprism audit list --json`\n"


def test_a_wrong_option_is_an_error_of_one_line(data: Path) -> None:
    for options in (("--action", "key"), ("--since", "yesterday")):
        ran = infraprism("audit", "list", *options, "--data-dir", str(data))
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"infraprism: {options[0]}: ")
        assert len(ran.stderr.splitlines()) == 1
    ran = infraprism("audit", "verify", "--head", "12")
    assert (ran.returncode, ran.stderr) == (1, "infraprism: --head: a hash has 64 hexadecimal digits\n")


def test_the_log_in_postgresql_is_listed_and_verified() -> None:
    with postgresql() as server:
        with closing(Accounts(server.url())) as accounts:
            accounts.add_with_key()
        assert infraprism("keys", "create", "--accounts", server.url()).returncode == 0
        ran = infraprism("audit", "list", "--json", "--accounts", server.url())
        assert [json.loads(line)["action"] for line in ran.stdout.splitlines()] == ["key.created"]
        assert verified("--accounts", server.url())[0] == 0


def test_the_documented_hash_is_that_of_the_log(data: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # the example of the page
    previous = "0" * 64
    for entry in listed(data):
        assert names["expected_hash"](entry, previous) == entry["hash"]
        previous = entry["hash"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Backend]:
    with Backend(tmp_path / "data") as running:
        yield running


def test_an_account_reads_its_own_entries_page_by_page(server: Backend) -> None:
    other = server.add_account()
    with closing(Accounts(server.data_dir / "accounts.sqlite")) as accounts:
        log = AuditLog(accounts.database)
        for account in accounts.all():
            for number in range(25):
                log.append(account.id, Key.id_of(server.key), "key.revoked" if number % 5 else "key.created", "key_1")
    account_id = server.get("/v1/me").json["id"]
    for order in ("newest", "oldest"):
        found: list[int] = []
        parameters: dict[str, Any] = {"limit": 7, "order": order}
        while True:
            page = server.get("/v1/audit", **parameters).json
            assert {entry["account_id"] for entry in page["data"]} == {account_id}
            found += [entry["number"] for entry in page["data"]]
            if not page["pagination"]["has_more"]:
                break
            parameters["after"] = page["pagination"]["next_after"]
        newest = page["head"]["number"]
        assert found == sorted(range(1, newest + 1), reverse=order == "newest")
    assert len(server.get("/v1/audit", action="key.created", limit=1000).json["data"]) >= 5
    assert server.get("/v1/audit", since="2199-01-01").json["data"] == []
    assert server.get("/v1/audit", other).json["head"] != server.get("/v1/audit").json["head"]
    for wrong in ({"action": "key"}, {"since": "yesterday"}, {"order": "up"}, {"limit": 0}, {"colour": "red"}):
        assert server.get("/v1/audit", **wrong).status == 400
