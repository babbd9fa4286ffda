"""/healthz and /readyz are true, and never wait for the store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment
from tests.kit.events import event, events

from infraprism.backend.api.health import Health
from infraprism.backend.store import StoreError
from infraprism.backend.store.status import StoreStatus

_SERVER_WITH_A_FATAL_ERROR = """
import sys
from pathlib import Path
from infraprism.backend.store import StoreError, embedded
def insert(*_, **__):
    raise StoreError(236)
embedded.EmbeddedDatabase.insert_staged = insert
from infraprism.backend.server import Settings, run
sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))
"""


class Store:
    """A store with a given result of a query."""

    def __init__(self, probe: Callable[[], object] = lambda: None, reason: str | None = None) -> None:
        self.probe = probe
        self.fault: str | None = None
        self._reason = reason

    def write_fault(self) -> str | None:
        return self.fault

    def status(self) -> StoreStatus:
        return StoreStatus(self._reason is None, self._reason, 10, 5, merges_stopped=False, damaged=(), scrub=None)


def health(store: Any, *, is_writing: bool = True) -> Health:
    return Health(store, lambda: is_writing)


def test_readiness_is_answered_within_a_second_if_the_store_answers_no_query() -> None:
    release = threading.Event()
    found = health(Store(release.wait))

    async def run() -> tuple[int, dict[str, Any]]:
        async with asyncio.timeout(5):
            return await found.ready()

    try:
        status, body = asyncio.run(run())
        assert (status, body["reason"]) == (503, "the store does not answer a query")
        assert found.live()[0] == 200
    finally:
        release.set()
        found.close()


def test_a_store_that_cannot_be_read_or_written_is_not_ready() -> None:
    def fail() -> None:
        raise StoreError(60)

    for store, reason in ((Store(fail), "the store does not answer a query"), (Store(reason="full"), "full")):
        found = health(store)
        status, body = asyncio.run(found.ready())
        assert (status, body["status"], body["reason"]) == (503, "unavailable", reason)
        found.close()


def test_a_table_that_cannot_be_written_is_not_ready_until_it_can() -> None:
    store = Store()
    found = health(store)
    for fault, expected in ((None, 200), ("read-only", 503), (None, 200)):
        store.fault = fault
        status, body = asyncio.run(found.ready())
        assert (status, body["reason"]) == (expected, fault)
    found.close()


@pytest.mark.parametrize(("name", "reason"), [("log", "the log"), ("store/stored_ids", "the index of stored ids")])
def test_a_directory_that_cannot_be_written_is_reported_although_events_are_stored(
    tmp_path: Path, name: str, reason: str
) -> None:
    with Backend(tmp_path / "data") as backend:
        directory = tmp_path / "data" / name
        assert backend.export(*map(span, events(50))).rejected == 0
        assert backend.http("/readyz", None, {}).json["status"] == "ok"
        moved = directory.rename(directory.with_name("moved"))
        directory.write_bytes(b"no directory")
        answer = backend.http("/readyz", None, {})
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert answer.json["reason"].startswith(f"{reason} cannot be written (")
        assert backend.export(*map(span, events(50, first=60))).rejected == 0
        directory.unlink()
        moved.rename(directory)
        assert backend.http("/readyz", None, {}).json["status"] == "ok"


def test_a_server_with_a_stopped_writer_is_neither_alive_nor_ready() -> None:
    found = health(Store(), is_writing=False)
    assert found.live()[0] == 503
    assert asyncio.run(found.ready())[0] == 503
    found.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_state_of_the_server_needs_no_key(backend: Backend, path: str) -> None:
    assert backend.http(path, None, {}).status == 200


def test_a_fatal_error_of_the_engine_ends_the_process(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER_WITH_A_FATAL_ERROR, str(tmp_path / "data")],
        env=clean_environment(INFRAPRISM_API_KEY="ip-the-key-of-the-first-account"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    backend = Backend.running(process, tmp_path / "data")
    assert backend.export(span(event())).status == 200  # the log has it
    assert backend.export(*map(span, events(50, first=2))).status == 503
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "start the server again" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    with Backend(tmp_path / "data") as backend:
        assert [one["id"] for one in backend.events()] == [event().id]
