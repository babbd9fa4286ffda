"""Batches are checked at the same time, and inserted one at a time after a look-up of what may be stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infraprism.backend.ingest.event_inserter import BatchRequest, EventInserter
from infraprism.backend.ingest.otlp_requests import EncodedSpans, TimeRanges
from infraprism.backend.store import StoreError
from infraprism.backend.store.database import Staged, StoredPart
from infraprism.backend.store.identities import Identities

START_MS = 1_790_000_000_000


class FakeDatabase:
    """A database with two lanes. The body of a request is the hash of its only event."""

    lanes = 2

    def __init__(self, directory: Path) -> None:
        self.derived_directory = directory / "ids"
        self.calls: list[str] = []
        self.recorded: list[list[int]] = []
        self.doubles: list[bool] = []
        self.fails = False
        self.staging: Callable[[], object] = lambda: None
        self.loaded: list[Callable[[], None]] = []
        self._inserting = threading.Lock()

    def stage(self, lane: int, sql: str, pieces: Sequence[bytes], layout: object, rows: int) -> Staged:
        self.staging()
        hashes = np.array([int(body) for body in pieces[1::2] if body != b"0"], np.uint64)
        rejected = [(place, "bad_ids", 1) for place, body in enumerate(pieces[1::2]) if body == b"0"]
        return Staged(Identities(hashes, np.full(len(hashes), START_MS, np.int64)), rejected)

    def insert_staged(self, lane: int, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        assert self._inserting.acquire(blocking=False)
        self.calls.append("insert")
        self.recorded.append(recorded.hashes.tolist())
        self.doubles.append(has_doubles)
        self._inserting.release()
        if self.fails:
            raise StoreError(243)

    def table_id(self) -> str:
        return "a table"

    def stored_parts(self) -> list[StoredPart]:
        return []

    def identities_of(self, part: StoredPart) -> Iterator[Identities]:
        return iter(())

    def on_load(self, loaded: Callable[[], None]) -> None:
        self.loaded.append(loaded)


@pytest.fixture
def database(tmp_path: Path) -> FakeDatabase:
    return FakeDatabase(tmp_path)


def inserter(database: Any, before_insert: Callable[[Sequence[tuple[str, TimeRanges]]], None]) -> EventInserter:
    return EventInserter(database, before_insert)


def batch(*hashes: int) -> list[BatchRequest]:
    ranges: TimeRanges = {START_MS // 3_600_000: (START_MS, START_MS)}
    return [
        BatchRequest(f"acc_{place}", usage_detail=False, spans=EncodedSpans(str(one).encode(), 1, ranges))
        for place, one in enumerate(hashes)
    ]


def test_the_accounts_and_times_of_a_batch_are_reported_before_its_insert(database: FakeDatabase) -> None:
    reported: list[tuple[str, TimeRanges]] = []

    def before_insert(found: Sequence[tuple[str, TimeRanges]]) -> None:
        database.calls.append("before")
        reported.extend(found)

    storing = inserter(database, before_insert)
    sent = batch(5, 6)
    assert storing.store(0, sent) == [{}, {}]
    assert database.calls == ["before", "insert"]
    assert reported == [(one.account_id, one.spans.ranges) for one in sent]
    storing.close()


def test_a_batch_without_an_accepted_event_is_not_inserted(database: FakeDatabase) -> None:
    storing = inserter(database, lambda _: None)
    assert storing.store(0, batch(0)) == [{"bad_ids": 1}]
    assert database.calls == []
    storing.close()


def test_only_events_that_may_be_stored_are_looked_up(database: FakeDatabase) -> None:
    storing = inserter(database, lambda _: None)
    for hashes in ((5, 6), (6, 7), (8, 8), (5, 8)):
        storing.store(0, batch(*hashes))
    assert [sorted(set(found)) for found in database.recorded] == [[], [6], [], [5, 8]]
    assert database.doubles == [False, False, True, False]
    storing.close()


def test_the_events_of_a_failed_insert_are_looked_up_when_they_are_sent_again(database: FakeDatabase) -> None:
    storing = inserter(database, lambda _: None)
    database.fails = True
    with pytest.raises(StoreError):
        storing.store(0, batch(5))
    database.fails = False
    storing.store(1, batch(5))
    assert database.recorded == [[], [5]]
    storing.close()


def test_two_lanes_are_staged_at_the_same_time_and_see_the_events_of_each_other(database: FakeDatabase) -> None:
    storing = inserter(database, lambda _: None)
    database.staging = threading.Barrier(2, timeout=30).wait
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(storing.store, (0, 1), (batch(5, 6), batch(6, 7)))) == [[{}, {}], [{}, {}]]
    assert database.recorded == [[], [6]]
    storing.close()
