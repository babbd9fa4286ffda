"""Nodes with one store: passing events on, taking shards over, and what a node keeps."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.kit.backend import PROTOBUF, Backend, request, span
from tests.kit.clickhouse_front import ClickHouseFront
from tests.kit.events import event

LEASE_S = 3
SHARDS = 4


@pytest.fixture
def settings(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[dict[str, Any]]:
    with ClickHouseFront(tmp_path / "server") as front:
        yield {"store": front.url(), "accounts": new_database(), "shards": SHARDS, "lease_s": LEASE_S}


def owners(settings: dict[str, Any]) -> list[int]:
    """The number of shards of each owner."""
    with psycopg.connect(settings["accounts"]) as connection:
        rows = connection.execute("SELECT count(*) FROM cluster_shards WHERE expires > now() GROUP BY node ORDER BY 1")
        return [int(row[0]) for row in rows]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_acknowledged_event_does_not_need_the_disk_of_its_node(settings: dict[str, Any], tmp_path: Path) -> None:
    with Backend(tmp_path / "first", settings=settings) as first:
        for number in range(1, 4):
            assert first.export(span(event(number))).rejected == 0
        first.process.kill()
        first.process.wait(30)
    with Backend(tmp_path / "second", settings=settings) as second:
        assert len(second.events()) == 3


def test_shards_are_shared_between_nodes_and_given_back_at_the_end(settings: dict[str, Any], tmp_path: Path) -> None:
    with Backend(tmp_path / "first", settings=settings) as first:
        assert owners(settings) == [SHARDS]
        with Backend(tmp_path / "second", settings=settings) as second:
            wait_until(lambda: owners(settings) == [SHARDS // 2, SHARDS // 2])
            everything = request(span(event(number)) for number in range(1, 101))
            # A node learns the new owners after a second, and answers 503 until then.
            wait_until(lambda: second.export_requests(everything).status == 200)
            wait_until(lambda: first.export_requests(everything).status == 200)
            assert len(first.events()) == len(second.events()) == 100
            code, errors = second.stop()
        assert code == 0, errors
        wait_until(lambda: owners(settings) == [SHARDS])
        wait_until(lambda: first.export_requests(everything).status == 200)
        assert len(first.events()) == 100


def test_rejected_spans_are_counted_over_all_owners(settings: dict[str, Any], tmp_path: Path) -> None:
    with Backend(tmp_path / "first", settings=settings) as first, Backend(tmp_path / "second", settings=settings):
        wait_until(lambda: owners(settings) == [SHARDS // 2, SHARDS // 2])
        spans = [span(event(number), **{"infraprism.unknown": "x"}) for number in range(1, 41)]
        wait_until(lambda: first.export_requests(request(spans)).status == 200)
        assert first.export_requests(request(spans)).rejected == 40


def test_an_event_with_another_start_time_in_another_month_counts_once(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    original = event(1)
    later = event(1, timestamp_ns=original.timestamp_ns - 40 * 86_400 * 10**9)
    with Backend(tmp_path / "first", settings=settings) as first:
        assert first.export(span(original)).rejected == 0
        assert first.export(span(later)).rejected == 0
        assert len(first.events()) == 1
    with Backend(tmp_path / "second", settings=settings) as second:
        assert second.export(span(later)).rejected == 0
        assert len(second.events()) == 1


def test_requests_between_nodes_need_the_secret_of_the_cluster(settings: dict[str, Any], tmp_path: Path) -> None:
    body = request([span(event(1))]).SerializeToString()
    headers = {"content-type": PROTOBUF, "x-infraprism-account": "acc_1"}
    with Backend(tmp_path / "first", settings=settings) as first:
        for authorization in ({}, {"authorization": f"Bearer {first.key}"}, {"authorization": "Bearer "}):
            assert first.http("/internal/v1/events", body, {**headers, **authorization}).status == 401
        assert first.events() == []
        paths = json.loads(urllib.request.urlopen(first.url + "/openapi.json").read())["paths"]
        assert "/internal/v1/events" not in paths


def test_without_a_store_there_is_no_path_for_nodes(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        assert backend.http("/internal/v1/events", b"", {"authorization": "Bearer "}).status == 404
