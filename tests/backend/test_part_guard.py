"""Parts are verified in time, damage is never silent, and no row is lost while the sources of a merge exist."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from tests.kit.damage import flip_a_bit
from tests.kit.parts import Clock, Failing, Table, table

from infraprism.backend.store.database import StoreError
from infraprism.backend.store.part_guard import PartGuard
from infraprism.backend.store.parts import Deletion
from infraprism.backend.store.schema import OLD_PARTS_LIFETIME_S
from infraprism.backend.store.scrub import INTERVAL_S, Scrub
from infraprism.backend.store.status import FreeSpace


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Table]:
    with table(tmp_path / "store") as made:
        yield made


def guard_of(
    events: Table,
    clock: Clock | None = None,
    client: Any = None,
    is_short: Callable[[], bool] = lambda: False,
) -> PartGuard:
    return PartGuard(
        events.client,
        client or events.client,
        "events",
        exclusive=nullcontext,
        is_short=is_short,
        on_load=lambda: None,
        clock=clock or Clock(),
        rest=lambda _: None,
    )


def test_the_daily_scrub_runs_when_it_is_due_and_finds_a_flipped_bit(events: Table) -> None:
    clock, rests = Clock(), []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        return False

    events.insert(10)
    events.insert(20)
    scrub = Scrub(events.client, "events", guard_of(events).move_aside, rest, clock)
    assert scrub.run_if_due()
    assert scrub.last is not None
    assert (scrub.last.parts, scrub.last.rows, len(rests)) == (2, 30, 2)
    flip_a_bit(events.parts()[0] / "data.bin")
    clock.now_s += INTERVAL_S - 1
    assert not scrub.run_if_due()
    assert events.detached() == []
    clock.now_s += 2
    assert scrub.run_if_due()
    assert events.detached() == ["damaged_202609_1_1_0"]
    assert events.rows() == 20


def test_a_merge_that_lost_rows_is_replaced_by_its_sources(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with table(tmp_path / "store", "ReplacingMergeTree") as events:
        guard = guard_of(events)
        events.insert(20)
        events.insert(20)
        events.merge()
        assert events.rows() == 20
        guard.tick()
        assert events.rows() == 40
        assert events.detached() == []
        assert guard.merges_stopped
        assert "its sources were restored" in caplog.text


def test_a_merged_part_that_is_found_damaged_after_its_sources_were_removed_is_reported(
    events: Table, caplog: pytest.LogCaptureFixture
) -> None:
    guard = guard_of(events)
    events.insert(20)
    events.insert(20)
    events.merge()
    flip_a_bit(events.parts()[0] / "data.bin")
    events.remove_sources()
    guard.tick()
    assert events.detached() == ["damaged_202609_1_2_1"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "the part 202609_1_2_1 is damaged: 40 of its 40 rows are missing")
    ]


def test_a_verification_that_is_late_stops_merges_and_is_reported(
    events: Table, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()

    def failure() -> Exception:
        return DatabaseError("memory limit")

    class Unverifiable(Failing):
        def raw_query(self, sql: str, **named: Any) -> Any:
            if sql.startswith("CHECK") and self.times > 0:
                self.times -= 1
                raise failure()
            return events.client.raw_query(sql, **named)

    guard = guard_of(events, clock, Unverifiable(events.client, "-", failure, times=3))
    events.insert(20)
    events.insert(20)
    events.merge()
    stopped = []
    for _ in range(3):
        with pytest.raises(DatabaseError):
            guard.tick()
        stopped.append(guard.merges_stopped)
        clock.now_s += OLD_PARTS_LIFETIME_S / 2
    assert stopped == [False, True, True]
    guard.tick()
    assert not guard.merges_stopped
    (record,) = caplog.records
    assert record.getMessage().startswith("the part 202609_1_2_1 was verified late")


def test_a_table_that_cannot_be_attached_is_attached_later(events: Table, caplog: pytest.LogCaptureFixture) -> None:
    client = Failing(events.client, "ATTACH", lambda: DatabaseError("a full disk"), times=120)
    guard = guard_of(events, client=client)
    events.insert(20)
    events.insert(20)
    events.merge()
    flip_a_bit(events.parts()[0] / "data.bin")
    with pytest.raises(StoreError):
        guard.tick()
    assert not guard.is_attached
    assert not guard.attach()
    assert guard.attach()
    assert guard.is_attached
    assert client.times == 0
    assert events.rows() == 40
    assert "the table events cannot be attached" in caplog.text
    guard.tick()


def test_merges_stop_below_the_reserve_and_resume_above_a_tenth_more(
    events: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free = 100

    def statvfs(_: object) -> Any:
        return SimpleNamespace(f_blocks=1000, f_bavail=free, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    space = FreeSpace(tmp_path)
    guard = guard_of(events, is_short=space.is_low)
    assert space.reserve_bytes == 50
    states = []
    for free in (50, 49, 50, 54, 56, 50, 49):  # noqa: B007  # read by statvfs
        guard.tick()
        states.append((space.is_low(), guard.merges_stopped))
    assert states == [(low, low) for low in (False, True, True, True, False, False, True)]


def test_a_deletion_that_lost_other_rows_is_found_by_what_was_recorded(
    events: Table, caplog: pytest.LogCaptureFixture
) -> None:
    guard = guard_of(events)
    events.insert(20)
    guard.deletion = Deletion(1, {"202609_1_1_0": 15})
    events.client.command("ALTER TABLE events DELETE WHERE number >= 15 SETTINGS mutations_sync = 1")
    guard.tick()
    assert events.rows() == 15
    assert guard.remove_replaced(events.client)
    assert [path.name for path in events.parts("true") if path.exists()] == ["202609_1_1_0_2"]
    assert caplog.records == []
    guard.deletion = Deletion(2, {"202609_1_1_0_2": 12})
    events.client.command("ALTER TABLE events DELETE WHERE number >= 10 SETTINGS mutations_sync = 1")
    events.client.command("KILL MUTATION WHERE table = 'events'")
    guard.tick()
    assert events.rows() == 15
    assert "its sources were restored" in caplog.text


def test_a_part_that_a_mutation_did_not_change_is_not_read_again(events: Table) -> None:
    checked: list[str] = []

    class Recording(Failing):
        def raw_query(self, sql: str, **named: Any) -> Any:
            checked.extend([sql] * sql.startswith("CHECK"))
            return events.client.raw_query(sql, **named)

    events.insert(20)
    events.insert(5)
    guard = guard_of(events, client=Recording(events.client, "-", AssertionError, times=0))
    events.client.command("ALTER TABLE events DELETE WHERE number >= 15 SETTINGS mutations_sync = 1")
    guard.tick()
    assert [sql.split("'")[1] for sql in checked] == ["202609_1_1_0_3"]
    assert guard.remove_replaced(events.client)
    assert events.rows() == 20
