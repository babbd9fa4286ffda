"""Files that are damaged, and a table that cannot be loaded, while the server runs: 503, one log line, and /readyz."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import GATEWAY, KEY, Backend, gateway_span, span
from tests.kit.command import clean_environment
from tests.kit.damage import flip_a_bit
from tests.kit.events import event
from tests.kit.otlp_canaries import export_request
from tests.kit.stored_data import store_two_parts

from infraprism.backend.accounts import Accounts

_SERVER_THAT_CANNOT_ATTACH = """
import sys
from pathlib import Path
import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError
from infraprism.backend.server import Settings, run
get_client = clickhouse_connect.get_client
marker = Path(sys.argv[2])
def failing(**named):
    client = get_client(**named)
    command = client.command
    def run_command(sql, *arguments, **more):
        if sql.startswith("ATTACH") and marker.exists():
            raise DatabaseError("a full disk")
        return command(sql, *arguments, **more)
    client.command = run_command
    return client
clickhouse_connect.get_client = failing
sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))
"""
_PAGE_BYTES = 4096


def _ready(backend: Backend) -> Any:
    return backend.http("/readyz", None, {})


def _wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return found


def _overwrite(file: Path, first_page: int) -> None:
    with file.open("r+b") as writing:
        writing.seek(first_page * _PAGE_BYTES)
        writing.write(b"\xff" * (file.stat().st_size - first_page * _PAGE_BYTES))


def test_damaged_accounts_are_answered_with_503_and_reported_once(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        intact = (tmp_path / "data" / "accounts.sqlite").read_bytes()
        _overwrite(tmp_path / "data" / "accounts.sqlite", 0)
        unknown = "ip-another-key-of-no-account-0"
        for key in (unknown, unknown):
            assert backend.get("/v1/me", key).status == 503
            answer = backend.export(span(event()), key=key)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        found = _ready(backend)
        assert found.status == 503
        assert found.json["reason"].startswith("accounts.sqlite cannot be used")
        (tmp_path / "data" / "accounts.sqlite").write_bytes(intact)
        assert _ready(backend).status == 200
        assert backend.get("/v1/me").status == 200
        errors = backend.stop()[1]
    assert errors.count("accounts.sqlite cannot be used") == errors.count("\n") == 1


@pytest.mark.parametrize("damage", ["pages", "a record"])
def test_damaged_calls_are_answered_with_503_and_reported_once(tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    with Backend(data):
        pass
    accounts = Accounts(data / "accounts.sqlite")
    account = accounts.find_by_key(KEY)
    accounts.close()
    assert account is not None
    # More than SQLite keeps in memory.
    spans = "x" if damage == "a record" else "[]" + 4000 * " "
    with closing(sqlite3.connect(data / "calls.sqlite")) as calls:
        calls.executemany(
            "INSERT INTO calls (account, event, spans) VALUES (?, ?, ?)",
            [(account.id, f"{number:032x}", spans) for number in range(2000)],
        )
        calls.execute("REPLACE INTO stored VALUES (?, ?)", (account.id, 10**6))
        calls.commit()
    with Backend(data) as backend:
        assert _ready(backend).status == 200
        if damage == "pages":
            _overwrite(data / "calls.sqlite", 4)
        for _ in range(2):
            answer = backend.export_requests(export_request([gateway_span(event())], GATEWAY))
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        found = _ready(backend)
        assert found.status == 503
        assert found.json["reason"].startswith("calls.sqlite cannot be used")
        assert backend.get("/v1/events").status == 200
        errors = backend.stop()[1]
    assert errors.count("calls.sqlite cannot be used") == errors.count("\n") == 1


def test_a_table_that_cannot_be_loaded_again_is_not_ready_until_it_is(tmp_path: Path) -> None:
    data, marker = tmp_path / "data", tmp_path / "no attach"
    store_two_parts(data)
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER_THAT_CANNOT_ATTACH, str(data), str(marker)],
        env=clean_environment(INFRAPRISM_API_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Backend.running(process, data) as backend:
        assert _wait_for(lambda: _ready(backend).json["last_scrub"])
        marker.touch()
        (part, _) = sorted((data / "store" / "store").glob("*/*/[0-9]*_0"))
        flip_a_bit(part / "data.bin")
        assert backend.get("/v1/events").status == 503
        found = _wait_for(lambda: (answer := _ready(backend)).status == 503 and answer)
        assert found.json["reason"] == "the events table is being restored"
        assert backend.http("/healthz", None, {}).status == 200
        answer = backend.export(span(event(500)))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        marker.unlink()
        assert _wait_for(lambda: _ready(backend).status == 200)
        assert backend.export(span(event(500))).rejected == 0
        assert len(backend.events()) == 21
        assert [found["rows"] for found in _ready(backend).json["damaged_parts"]] == [20]
        errors = backend.stop()[1]
    assert "the table events cannot be attached" in errors
    assert "Traceback" not in errors
