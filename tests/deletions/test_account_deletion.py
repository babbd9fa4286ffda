"""A deleted account leaves nothing but its last receipt."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.kit.backend import CALL, Backend, cleaned_span, span
from tests.kit.command import infraprism
from tests.kit.deletions import deleted
from tests.kit.events import event, events
from tests.kit.raw_files import files_with

from infraprism.backend import receipt_chain
from infraprism.backend.deletions.account_deletion import account_tables
from infraprism.backend.http_app import Services  # noqa: F401  # with all its tables
from infraprism.backend.relational.metadata import METADATA
from infraprism.backend.serving import serve  # noqa: F401  # as above

OF_NO_ACCOUNT = {"secrets", "closed_accounts", "usage_errors"}
"""The tables that have no rows of an account. A table of accounts has a column `account_id`, or `member_id`."""
FILES = {
    "accounts.sqlite",
    "aggregates.sqlite",
    "aggregates.sqlite-journal",
    "calls.sqlite",
    "exports",
    "finalised.sqlite",
    "inventory.json",
    "lock",
    "log",
    "quarantine",
    "store",
    "usage.sqlite",
}
"""What a data directory has. For each the test below shows that an account's bytes are removed from it."""


def closed(backend: Backend, path: str) -> dict[str, Any]:
    """The result of the deletion of an account when it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found: dict[str, Any] = backend.http(path, None, {}).json
        if found["state"] != "running":
            return found
        threading.Event().wait(0.2)
    raise AssertionError("the account is not deleted")


def rows_of(data: Path, account: str) -> dict[str, int]:
    """The rows of the relational database that contain the id of an account, by table."""
    found = {}
    with closing(sqlite3.connect(data / "accounts.sqlite")) as database:
        for table in METADATA.tables:
            rows = database.execute(f"SELECT * FROM {table}").fetchall()
            found[table] = sum(account in str(row) for row in rows)
    return {table: number for table, number in found.items() if number}


def test_every_table_is_deleted_with_its_account_or_has_no_rows_of_one() -> None:
    assert set(METADATA.tables) == set(account_tables()) | OF_NO_ACCOUNT


def test_a_deleted_account_is_gone_from_every_table_and_file_and_the_other_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        other = backend.add_account()
        account = backend.get("/v1/me").json["id"]
        for key in (None, other):
            assert backend.export(*map(span, events(200)), key=key).rejected == 0
        backend.export(cleaned_span(CALL))
        deleted(backend, session_id="any")
        export = backend.send(
            "POST", "/v1/exports", {"start_date": "2026-01-01", "end_date": "2026-12-31", "format": "csv"}
        )
        assert export.status == 202, export.body
        assert files_with(data, account)
        wrong = backend.send("DELETE", "/v1/account", {"confirm": "yes"})
        assert (wrong.status, wrong.json["error"]["code"]) == (400, "confirmation_required")
        answer = backend.send("DELETE", "/v1/account", {"confirm": account})
        assert (answer.status, answer.json["account_id"]) == (202, account)
        found = closed(backend, answer.json["receipt_path"])
        assert backend.get("/v1/me").status == 401
        assert backend.export(span(event(9_000))).status == 401
        receipt = found["receipt"]
        assert receipt_chain.verify([receipt], is_whole_chain=False) == 1
        assert receipt["counts"]["events"]["before"] >= 200
        assert receipt["counts"]["database.keys"] == {"before": 1, "after": 0}
        assert all(one["after"] == 0 for one in receipt["counts"].values())
        assert rows_of(data, account) == {"closed_accounts": 1}
        assert len(backend.events(other)) == 200
        assert backend.http("/closed-accounts/none", None, {}).status == 404
        backend.stop()
    assert files_with(data, account) == ["accounts.sqlite"]
    assert {path.name for path in data.iterdir()} <= FILES


def test_the_deletion_of_an_account_continues_after_the_server_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        assert backend.export(*map(span, events(100))).rejected == 0
        account = backend.get("/v1/me").json["id"]
        answer = backend.send("DELETE", "/v1/account", {"confirm": account})
        backend.stop(signal.SIGKILL)
    with Backend(data, key=None) as backend:
        found = closed(backend, answer.json["receipt_path"])
        assert found["receipt"]["account_id"] == account
        assert rows_of(data, account) == {"closed_accounts": 1}
    assert json.dumps(found)


def test_the_operator_can_delete_an_account_by_its_id(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        other = backend.add_account()
        account = backend.get("/v1/me", other).json["id"]
        command = ("account", "delete", "--data-dir", str(data), "--account", account, "--confirm")
        wrong = infraprism(*command, "another")
        assert (wrong.returncode, "nothing was deleted" in wrong.stderr) == (1, True)
        ran = infraprism(*command, account)
        assert ran.stdout.startswith(f"{account} is being deleted. Its receipt is at /closed-accounts/")
        path = next(word for word in ran.stdout.split() if word.startswith("/"))
        assert closed(backend, path)["receipt"]["account_id"] == account
        assert backend.get("/v1/me", other).status == 401
        assert backend.get("/v1/me").status == 200
