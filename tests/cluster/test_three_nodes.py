"""Three node processes that are killed, paused and started again while clients resend to any of them."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.kit.backend import KEY, Backend, span
from tests.kit.clickhouse_front import DATABASE, PASSWORD, USER, ClickHouseFront
from tests.kit.events import START_NS, event
from tests.kit.postgresql import PostgreSQL

from infraprism.schema import Event

LEASE_S = 3
CLIENTS = 6
BATCH = 40
MONTH_NS = 31 * 86_400 * 10**9


class Cluster:
    """Nodes with one database of accounts and one store."""

    def __init__(self, directory: Path, store: str, accounts: str) -> None:
        self._directory = directory
        self._settings = {"store": store, "accounts": accounts, "shards": 6, "lease_s": LEASE_S}
        self.nodes = [self._start(number) for number in range(3)]
        self.lock = threading.Lock()

    def _start(self, number: int) -> Backend:
        return Backend(self._directory / f"node-{number}", settings=self._settings)

    def kill(self, number: int) -> None:
        """Kill a node, and start another one in its place."""
        self.nodes[number].process.kill()
        self.nodes[number].process.communicate(timeout=30)
        started = self._start(number)
        with self.lock:
            self.nodes[number] = started

    def pause(self, number: int, seconds: float) -> None:
        """Stop a node for longer than its leases last; then it goes on with what it was doing."""
        process = self.nodes[number].process
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)  # a pause has a length
        process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.process.communicate(timeout=30)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path / "server") as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path, front: ClickHouseFront, new_database: Callable[[], str]) -> Iterator[Cluster]:
    running = Cluster(tmp_path, front.url(), new_database())
    yield running
    running.stop()


class Client(threading.Thread):
    """Sends events until each is acknowledged, to any node, cut anew at each attempt, and some of them again."""

    def __init__(self, cluster: Cluster, number: int, stop: threading.Event) -> None:
        super().__init__()
        self._cluster = cluster
        self._random = random.Random(number)
        self._next = 1 + number * 10**6
        self._stopped = stop
        self._unacknowledged: list[Event] = []
        self.acknowledged: list[Event] = []

    def run(self) -> None:
        while not self._stopped.is_set() or self._unacknowledged:
            if not self._stopped.is_set() and len(self._unacknowledged) < BATCH:
                self._unacknowledged += [self._new_event() for _ in range(BATCH)]
            resent = self._random.sample(self.acknowledged, min(5, len(self.acknowledged)))
            batch = [*self._unacknowledged[: self._random.randint(1, 2 * BATCH)], *resent]
            self._random.shuffle(batch)
            with self._cluster.lock:
                node = self._random.choice(self._cluster.nodes)
            try:
                answer = node.export(*map(span, batch), key=KEY)
            except (OSError, urllib.error.URLError, http.client.HTTPException):
                continue
            if answer.status == 200:
                assert answer.rejected == 0
                self._unacknowledged = [one for one in self._unacknowledged if one not in batch]
                self.acknowledged += [one for one in batch if one not in resent]

    @property
    def sent(self) -> list[Event]:
        """What was sent, also if the answer was lost and the time of the test was over."""
        return [*self.acknowledged, *self._unacknowledged]

    def _new_event(self) -> Event:
        self._next += 1
        month = self._random.choice((0, 0, 0, 1))
        return event(self._next, timestamp_ns=START_NS + month * MONTH_NS + self._next * 1_000_000)


def stored_ids(front: ClickHouseFront) -> Counter[str]:
    """The number of rows of each event, read from the table."""
    import clickhouse_connect  # noqa: PLC0415  # slow to import

    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=front.port, username=USER, password=PASSWORD, database=DATABASE
    )
    rows = client.raw_query("SELECT lower(hex(id)) AS id FROM events WHERE account != ''", fmt="JSONEachRow")
    client.close()
    return Counter(f"evt_{json.loads(row)['id']}" for row in rows.splitlines())


def test_sent_is_stored_once_each_while_nodes_and_servers_are_killed_and_paused(
    cluster: Cluster, front: ClickHouseFront, postgresql_server: PostgreSQL
) -> None:
    stop = threading.Event()
    clients = [Client(cluster, number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for number in (0, 1, 2):
            cluster.kill(number)
            cluster.pause((number + 1) % 3, 2 * LEASE_S)
        front.restart()
        postgresql_server.stop()
        postgresql_server.start()
    finally:
        stop.set()
        for client in clients:
            client.join(120)
    acknowledged = {one.id for client in clients for one in client.acknowledged}
    assert len(acknowledged) > 200  # a slow machine sends fewer
    stored = stored_ids(front)
    assert {event_id for event_id, rows in stored.items() if rows > 1} == set()
    assert acknowledged <= stored.keys() <= {one.id for client in clients for one in client.sent}
    (row,) = cluster.nodes[0].get("/v1/analytics/costs", start_date="2020-01-01").json["data"]
    assert row["total_events"] == len(acknowledged)
