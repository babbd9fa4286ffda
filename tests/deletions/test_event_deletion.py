"""Deleted events are gone from the disk, nothing else is, and damage during a deletion is found."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kit.command import clean_environment
from tests.kit.damage import flip_a_bit
from tests.kit.fault_cases import selected
from tests.kit.full_disk import Filler, available, tmpfs
from tests.kit.raw_files import files_with
from tests.kit.stored_data import copied
from tests.kit.summed_store import FIRST_MS, SummedStore

from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.store import StoreError, part_guard
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.event_deletion import NOT_ENOUGH_SPACE, DeletionStoppedError
from infraprism.backend.store.measured_rows import MeasuredRows
from infraprism.backend.store.parts import Part, is_intact

ROOT = Path(__file__).parents[2]
MONTH_MS = 31 * 86_400_000
WANTED = ("entity_id = {entity:String}",)
ENTITY: dict[str, str] = {"entity": "entity 1"}
KEPT = f"NOT (account = 'acc_a' AND entity_id = '{ENTITY['entity']}')"
_KILLED = """
import os, signal, sys
from pathlib import Path
import clickhouse_connect
get_client, left = clickhouse_connect.get_client, int(sys.argv[2])
def step(name):
    global left
    left -= 1
    if left == 0:
        print(name, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
counts = False
def counting(**named):
    client = get_client(**named)
    command = client.command
    def counted(sql, *arguments, **more):
        if counts:
            step(sql)
        return command(sql, *arguments, **more)
    client.command = counted
    return client
clickhouse_connect.get_client = counting
from infraprism.backend.store.embedded import EmbeddedDatabase
database = EmbeddedDatabase(Path(sys.argv[1]) / "store", reserve_bytes=0)
counts = True
def audit(event, arguments):
    if counts and event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        step(f"{event} {arguments[0]}")
sys.addaudithook(audit)
database.delete_events("acc_a", ("entity_id = 'entity 1'",), first_ms=None, end_ms=None, should_stop=lambda: False)
counts = False
database.close()
print("ended")
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Events of two accounts in two months, in several parts, some of them merged."""
    data = tmp_path / "data"
    (data / "store").mkdir(parents=True)
    with SummedStore(data) as store:
        for seed in range(8):
            account = ("acc_a", "acc_b")[seed % 2]
            store.insert(seed, 300, account, first_ms=FIRST_MS + seed // 4 * MONTH_MS)
            if seed == 5:
                store.events.command("OPTIMIZE TABLE events FINAL")
    return data


@contextmanager
def opened(data: Path) -> Iterator[EmbeddedDatabase]:
    database = EmbeddedDatabase(data / "store", reserve_bytes=0, computes_aggregates=False)
    try:
        yield database
    finally:
        database.close()


def rows(database: EmbeddedDatabase, condition: str = "true") -> list[Any]:
    """The number and the hash of the events that meet a condition."""
    sql = (
        f"SELECT count() AS calls, toString(sum(cityHash64(toString(tuple(*))))) AS hash FROM events WHERE {condition}"
    )
    (found,) = database.read(sql, {})
    return list(json.loads(found).values())


def delete(database: EmbeddedDatabase, should_stop: Callable[[], bool] = lambda: False, **bounds: Any) -> int:
    return database.delete_events(
        "acc_a", WANTED, ENTITY, **{"first_ms": None, "end_ms": None, **bounds}, should_stop=should_stop
    )


def delete_of_other(data: Path) -> None:
    """Delete the events of the entity with the same name in the other account."""
    with opened(data) as database:
        database.delete_events("acc_b", WANTED, ENTITY, first_ms=None, end_ms=None, should_stop=lambda: False)


def test_deleted_events_are_gone_from_the_files_and_no_other_event_is(data: Path) -> None:
    with opened(data) as database:
        kept, every = rows(database, KEPT), rows(database)
        assert delete(database) == every[0] - kept[0] > 0
        assert rows(database) == kept
        assert database.status().damaged == ()
        assert delete(database) == 0
    delete_of_other(data)
    assert files_with(data, "entity 1") == []
    assert files_with(data, "entity 0") != []
    with opened(data) as database:
        assert database.status().damaged == ()
        assert rows(database)[0] > 0


def test_only_events_within_the_time_range_are_deleted(data: Path) -> None:
    first_ms, end_ms = FIRST_MS + 86_400_000, FIRST_MS + 2 * 86_400_000
    at = "toUnixTimestamp64Milli(timestamp)"
    with opened(data) as database:
        kept = rows(database, f"{KEPT} OR {at} < {first_ms} OR {at} >= {end_ms}")
        assert delete(database, first_ms=first_ms, end_ms=end_ms) > 0
        assert rows(database) == kept


def test_all_events_of_an_account_can_be_deleted(data: Path) -> None:
    with opened(data) as database:
        kept = rows(database, "account = 'acc_b'")
        database.delete_events("acc_a", (), first_ms=None, end_ms=None, should_stop=lambda: False)
        assert rows(database) == kept
        database.delete_events("acc_b", (), first_ms=None, end_ms=None, should_stop=lambda: False)
        assert rows(database)[0] == 0
    with opened(data) as database:
        assert database.status().damaged == ()


def test_answers_from_aggregates_equal_the_events_after_a_deletion(data: Path) -> None:
    request = MeasuredRows("acc_a", dimensions=("entity_id",))

    def answer(database: EmbeddedDatabase) -> tuple[bool, list[Any]]:
        relation = database.aggregates.relation(request, measured_rows)
        sql = f"SELECT entity_id, sum(calls) AS calls FROM {relation.sql} AS rows GROUP BY entity_id ORDER BY entity_id"
        found = [tuple(json.loads(row).values()) for row in database.read(sql, relation.parameters)]
        return "sums_by" in relation.sql, found

    with SummedStore(data) as store:
        store.insert(100, 8_000)
    with opened(data) as database:
        database.aggregates.compute_all()
        is_summed, before = answer(database)
        assert is_summed
        delete(database)
        assert answer(database) == (False, [row for row in before if row[0] != "entity 1"])
        assert database.aggregates.deletion.unread_rows("acc_a") is not None
        database.aggregates.compute_all()
        assert answer(database) == (True, [row for row in before if row[0] != "entity 1"])
        database.aggregates.deletion.remove_unread_rows("acc_a")
        assert database.aggregates.deletion.unread_rows("acc_a") is None
        assert answer(database) == (True, [row for row in before if row[0] != "entity 1"])
    delete_of_other(data)
    assert files_with(data, "entity 1") == []


def test_a_deletion_that_is_stopped_can_be_run_again(data: Path) -> None:
    with opened(data) as database:
        kept = rows(database, KEPT)
        with pytest.raises(DeletionStoppedError):
            delete(database, should_stop=lambda: True)
        delete(database)
        assert rows(database) == kept
        assert not list((data / "store").glob("store/*/*/mutation_*"))


@pytest.mark.parametrize("step", selected([1, 3, 4, 5, 6, 8, 11, 14, 17, 20, 30, 40, 60], [1, 3, 5, 11, 20]))
def test_a_deletion_that_is_killed_at_any_step_is_completed_by_another_run(data: Path, step: int) -> None:
    delete_of_other(data)
    with opened(data) as database:
        kept = rows(database, KEPT)
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, str(data), str(step)],
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    with opened(data) as database:
        assert database.status().damaged == (), ran.stdout
        assert rows(database, KEPT) == kept
        delete(database)
        assert rows(database) == kept
        assert files_with(data, "entity 1") == [], ran.stdout
    with opened(data) as database:
        assert rows(database) == kept
        assert database.status().damaged == (), ran.stdout


def test_a_changed_part_that_the_disk_did_not_store_is_written_again(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    damaged: list[str] = []

    def damaging(client: Any, table: str, part: Part) -> bool:
        if part.mutation and not damaged:
            flip_a_bit(part.files / "data.bin")
            damaged.append(part.name)
        return is_intact(client, table, part)

    with opened(data) as database:
        kept = rows(database, KEPT)
        monkeypatch.setattr(part_guard, "is_intact", damaging)
        delete(database)
        assert damaged
        assert rows(database) == kept
        assert database.status().damaged == ()
    assert "its sources were restored" in caplog.text


def test_a_damaged_part_that_a_deletion_reads_is_reported_and_the_others_are_deleted(data: Path) -> None:
    with opened(data) as database:
        (first,) = (data / "store" / "store").glob("*/*/202604_7_7_0")
        kept = rows(database, KEPT)
        flip_a_bit(first / "data.bin")
        delete(database)
        (damaged,) = database.status().damaged
        assert damaged.name == first.name
        assert rows(database)[0] == rows(database, KEPT)[0] < kept[0]


def test_a_deletion_needs_space_for_the_parts_that_it_writes_anew(data: Path, tmp_path: Path) -> None:
    with available(tmpfs(tmp_path / "disk")) as disk:
        full = copied(data, disk / "data")
        filler = Filler(disk, random.Random(0))
        with opened(full) as database:
            every, kept = rows(database), rows(database, KEPT)
            filler.fill(4096)
            with pytest.raises(StoreError) as raised:
                delete(database)
            assert raised.value.code == NOT_ENOUGH_SPACE
            assert rows(database) == every
            filler.free()
            delete(database)
            assert rows(database) == kept
            assert database.status().damaged == ()


def test_a_deletion_runs_below_the_reserve_that_stops_merges(data: Path) -> None:
    database = EmbeddedDatabase(data / "store", reserve_bytes=2**60, computes_aggregates=False)
    try:
        assert not database.status().can_store
        kept = rows(database, KEPT)
        delete(database)
        assert rows(database) == kept
    finally:
        database.close()
