"""No account can take the capacity of the others."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kit.backend import Backend, request, span
from tests.kit.events import event

from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.query_pool import MAX_QUEUED, QueryPool
from infraprism.backend.ingest.fair_queue import FairQueue


class Item(NamedTuple):
    account_id: str
    size: int


def test_accounts_take_turns_in_a_batch() -> None:
    queue: FairQueue[Item] = FairQueue()
    for item in (*(Item("large", 10) for _ in range(100)), Item("small", 1), Item("other", 2)):
        queue.append(item)
    assert queue.size == 1003
    assert queue.take(25) == [Item("large", 10), Item("small", 1), Item("other", 2), Item("large", 10)]
    assert queue.size == 980
    assert queue.take(5) == [Item("large", 10)]
    assert len(queue.take(10**6)) == 97
    assert not queue
    assert queue.take(1) == []


def test_an_account_cannot_use_all_threads_of_the_query_pool() -> None:
    async def run() -> None:
        pool, release = QueryPool(workers=2), threading.Event()
        slow = [asyncio.create_task(pool.run("busy", lambda: b"%d" % release.wait())) for _ in range(MAX_QUEUED)]
        await asyncio.sleep(0)
        assert await pool.run("other", lambda: b"done") == b"done"
        with pytest.raises(ApiError) as rejected:
            await pool.run("busy", lambda: b"")
        assert (rejected.value.status, rejected.value.retry_after_s) == (429, 2)
        release.set()
        assert await asyncio.gather(*slow) == [b"1"] * MAX_QUEUED
        assert await pool.run("busy", lambda: b"again") == b"again"
        pool.close()

    asyncio.run(run())


def test_slow_bodies_of_one_account_leave_memory_for_the_others(tmp_path: Path) -> None:
    many = request([span(event(number + 1)) for number in range(100)]).SerializeToString()
    with Backend(tmp_path / "data", max_waiting_bytes=6 * len(many)) as backend:
        other = backend.add_account()
        host, port = backend.url.removeprefix("http://").split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(12)]
        for connection in slow:
            connection.sendall(
                b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
                % (backend.key.encode(), len(many))
                + many[:-1]
            )
        statuses = {backend.export(body=many, key=backend.key).status for _ in range(3)}
        assert statuses == {429}
        assert backend.export(body=many, key=other).rejected == 0
        for connection in slow:
            connection.close()
