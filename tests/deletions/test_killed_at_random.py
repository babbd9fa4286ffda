"""A deletion that is killed at random, while events arrive, deletes its scope once and nothing else."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.deletions import ended
from tests.kit.events import START_NS, event
from tests.kit.raw_files import files_with

from infraprism.backend import receipt_chain
from infraprism.schema import Event

_DAY_NS = 86_400_000_000_000


def _event(number: int) -> Event:
    return event(
        number,
        timestamp_ns=START_NS - number % 60 * _DAY_NS + number,
        entity_id=f"secret-{number % 4}",
        session_id=f"session-{number % 7}",
    )


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_SEEDS", "3"))))
def test_a_scope_is_deleted_once_whenever_the_server_is_killed(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = tmp_path / "data"
    sent = 0
    job_id = ""
    number = chance.randrange(200, 2000)
    for _ in range(4):
        with Backend(data) as backend:
            # Of the scope only what is sent before the request; the others arrive all the time.
            made = [one for one in map(_event, range(sent + 1, sent + number + 1)) if not job_id or number_of(one) % 4]
            assert backend.export(*map(span, made)).rejected == 0
            sent += number
            if not job_id:
                scope = {"entity_type": "customer", "entity_id": "secret-0"}
                job_id = backend.send("DELETE", "/v1/data", scope).json["id"]
            threading.Event().wait(chance.uniform(0, 1.5))
            backend.stop(signal.SIGKILL)
    with Backend(data) as backend:
        assert ended(backend, job_id)["state"] == "succeeded"
        found: set[str] = set()
        cursor: dict[str, str] = {}
        while True:
            page = backend.get("/v1/events", limit=1000, **cursor).json
            found |= {one["id"] for one in page["data"]}
            if not page["pagination"].get("next_cursor"):
                break
            cursor = {"cursor": page["pagination"]["next_cursor"]}
        assert found == {one.id for one in map(_event, range(1, sent + 1)) if one.entity_id != "secret-0"}
        assert receipt_chain.verify(backend.get("/v1/receipts").json["data"]) == 1
        assert backend.http("/readyz", None, {}).json["damaged_parts"] == []
        assert files_with(data, "secret-0") == []


def number_of(one: Event) -> int:
    """The number of an event."""
    return one.trace_id
