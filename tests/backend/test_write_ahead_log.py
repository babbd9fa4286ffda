"""A small request is acknowledged when the log has it, and the store gets it later, exactly once."""

from __future__ import annotations

import asyncio
import logging
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.kit.asynchronous import in_event_loop
from tests.kit.events import START_NS, event
from tests.kit.log_faults import AT_ONCE, IMPATIENT, ON_DEMAND, FaultyFiles, Steps, StoreOfIds, log_in, record_of

from infraprism.backend.ingest.rejections import STORE_FAILED, UNREADABLE, RejectedError
from infraprism.backend.ingest.write_ahead_log.records import decoded, encoded
from infraprism.backend.ingest.write_ahead_log.segments import Segments
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _log_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def _aside(directory: Path) -> list[Path]:
    return sorted((directory / "not-stored").glob("*"))


async def _left_by_a_killed_server(directory: Path, *numbers: int, clock_ms: Any = None) -> None:
    """A log with acknowledged events, of a process that has ended without applying it."""
    store = StoreOfIds()
    store.rejection = RejectedError(STORE_FAILED)
    log = log_in(directory, store, timing=IMPATIENT)
    await log.start()
    assert all([await log.append(record_of(event(number))) for number in numbers])
    await log.close()
    assert not store.stored
    assert _log_files(directory)


@in_event_loop
async def test_an_acknowledged_event_is_on_the_disk_before_the_store_has_it(tmp_path: Path) -> None:
    store, files = StoreOfIds(), FaultyFiles(Steps())
    log = log_in(tmp_path / "log", store, files, timing=ON_DEMAND)
    await log.start()
    assert await log.append(record_of(event(1)))
    assert not store.requests
    (path,) = _log_files(tmp_path / "log")
    assert files.durable[path] == path.stat().st_size
    assert decoded(path.read_bytes()).records == [record_of(event(1))]
    await log.close()
    assert store.stored == {_id(1): 1}


@in_event_loop
async def test_the_log_is_applied_without_a_query_and_deleted(tmp_path: Path) -> None:
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=AT_ONCE)
    await log.start()
    assert await log.append(record_of(event(1), event(2)))
    await store.was_asked.wait()
    await log.close()
    assert store.stored == {_id(1): 1, _id(2): 1}
    assert not _log_files(tmp_path / "log")


@in_event_loop
async def test_requests_that_arrive_together_share_a_write_and_a_statement(tmp_path: Path) -> None:
    store, files = StoreOfIds(), FaultyFiles(Steps())
    log = log_in(tmp_path / "log", store, files, timing=ON_DEMAND)
    await log.start()
    assert all(await asyncio.gather(*(log.append(record_of(event(number))) for number in range(1, 101))))
    assert files.operations["write"] < 5
    assert await log.is_applied("acc_1")
    assert store.requests == 1
    await log.close()


@in_event_loop
async def test_a_query_waits_for_the_acknowledged_events_of_its_account(tmp_path: Path) -> None:
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=ON_DEMAND)
    await log.start()
    assert await log.append(record_of(event(1)))
    store.is_open.clear()
    query = asyncio.create_task(log.is_applied("acc_1"))
    await store.was_asked.wait()
    assert await log.is_applied("acc_2")
    assert not query.done()
    store.is_open.set()
    assert await query
    assert store.stored[_id(1)]
    await log.close()


@in_event_loop
async def test_a_query_waits_also_for_events_that_arrived_while_the_log_was_applied(tmp_path: Path) -> None:
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=ON_DEMAND)
    await log.start()
    assert await log.append(record_of(event(1)))
    store.is_open.clear()
    first = asyncio.create_task(log.is_applied("acc_1"))
    await store.was_asked.wait()
    assert await log.append(record_of(event(2)))
    second = asyncio.create_task(log.is_applied("acc_1"))
    store.is_open.set()
    assert await first
    assert await second
    assert store.stored == {_id(1): 1, _id(2): 1}
    await log.close()


@in_event_loop
async def test_a_query_is_not_answered_while_the_store_refuses_acknowledged_events(tmp_path: Path) -> None:
    store = StoreOfIds()
    store.rejection = RejectedError(STORE_FAILED)
    log = log_in(tmp_path / "log", store, timing=IMPATIENT)
    await log.start()
    assert await log.append(record_of(event(1)))
    assert not await log.is_applied("acc_1")
    await log.close()


@in_event_loop
async def test_events_that_the_store_refuses_are_tried_again(tmp_path: Path) -> None:
    store = StoreOfIds(Steps(fails=frozenset({0, 1, 4})))
    log = log_in(tmp_path / "log", store, timing=AT_ONCE)
    await log.start()
    assert all(await asyncio.gather(*(log.append(record_of(event(number))) for number in range(1, 6))))
    assert await log.is_applied("acc_1")
    assert store.stored == {_id(number): 1 for number in range(1, 6)}
    await log.close()


@in_event_loop
async def test_one_account_that_the_store_refuses_does_not_stop_another(tmp_path: Path) -> None:
    class Store(StoreOfIds):
        async def store(self, account_id: str, *arguments: Any, **named: Any) -> Any:
            if account_id == "acc_2":
                raise RejectedError(STORE_FAILED)
            return await super().store(account_id, *arguments, **named)

    store = Store()
    log = log_in(tmp_path / "log", store, timing=AT_ONCE)
    await log.start()
    assert await log.append(record_of(event(1), account_id="acc_2"))
    assert await log.append(record_of(event(2)))
    assert await log.is_applied("acc_1")
    await log.close()
    assert _log_files(tmp_path / "log")


@in_event_loop
async def test_the_log_is_applied_at_the_next_start(tmp_path: Path) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1, 2, 3)
    store = StoreOfIds()
    store.stored[_id(2)] = 1  # the store had it before the process ended
    log = log_in(tmp_path / "log", store)
    await log.start()
    assert log.is_replayed("acc_1")
    assert store.stored == {_id(1): 1, _id(2): 1, _id(3): 1}
    assert not _log_files(tmp_path / "log")
    await log.close()


@in_event_loop
async def test_a_start_with_a_store_that_refuses_keeps_the_log(tmp_path: Path) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1)
    store = StoreOfIds()
    store.rejection = RejectedError(STORE_FAILED)
    log = log_in(tmp_path / "log", store, timing=AT_ONCE)
    await log.start()
    assert not log.is_replayed("acc_1")
    assert log.is_replayed("acc_2")
    store.rejection = None
    assert await log.is_applied("acc_1")
    assert log.is_replayed("acc_1")
    await log.close()
    assert not _log_files(tmp_path / "log")


@in_event_loop
async def test_an_incomplete_record_at_the_end_is_ignored(tmp_path: Path) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1, 2)
    whole = encoded(record_of(event(3)))
    for length in (1, 11, 12, len(whole) - 1):
        (path,) = _log_files(tmp_path / "log")
        content = path.read_bytes()
        path.write_bytes(content + whole[:length])
        assert decoded(path.read_bytes()) == (decoded(content).records, 0)
        path.write_bytes(content)
    path.write_bytes(content + whole[:-1])
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store)
    await log.start()
    assert store.stored == {_id(1): 1, _id(2): 1}
    assert not _aside(tmp_path / "log")
    await log.close()


@in_event_loop
async def test_an_incomplete_record_is_not_taken_for_damage_because_its_ids_look_like_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1)
    (path,) = _log_files(tmp_path / "log")
    content = path.read_bytes()
    torn = encoded(record_of(event(2, trace_id=int.from_bytes(b"IPW1" * 4, "big"))))[:-1]
    assert torn.count(b"IPW1") > 1
    for length in range(len(torn)):
        assert decoded(content + torn[:length]) == (decoded(content).records, 0)
    path.write_bytes(content + torn)
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store)
    with caplog.at_level(logging.WARNING):
        await log.start()
    assert store.stored == {_id(1): 1}
    assert not _aside(tmp_path / "log")
    assert not caplog.records
    await log.close()


def test_a_record_of_which_the_length_is_damaged_is_not_taken_for_an_incomplete_one() -> None:
    first, second = (encoded(record_of(event(number))) for number in (1, 2))
    damaged = first[:4] + (2**16).to_bytes(4, "little") + first[8:]
    assert decoded(damaged + second) == ([record_of(event(2))], len(first))


@in_event_loop
async def test_a_damaged_record_loses_no_other_and_its_file_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1, 2, 3)
    (path,) = _log_files(tmp_path / "log")
    content = path.read_bytes()
    first, second = len(encoded(record_of(event(1)))), len(encoded(record_of(event(2))))
    for position in range(first, first + second):
        damaged = bytearray(content)
        damaged[position] ^= 4
        assert decoded(bytes(damaged)) == ([record_of(event(1)), record_of(event(3))], second)
    path.write_bytes(damaged)
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store)
    with caplog.at_level(logging.ERROR):
        await log.start()
    assert store.stored == {_id(1): 1, _id(3): 1}
    (kept,) = _aside(tmp_path / "log")
    assert kept.read_bytes() == damaged
    assert "is damaged" in caplog.text
    await log.close()


@pytest.mark.parametrize("rejection", [None, RejectedError(UNREADABLE)])
@in_event_loop
async def test_an_event_that_the_store_rejects_is_kept_aside(tmp_path: Path, rejection: RejectedError | None) -> None:
    class Store(StoreOfIds):
        async def store(self, account_id: str, spans: Any, **named: Any) -> Any:
            if rejection and _id(3) in spans.body:
                raise rejection
            return await super().store(account_id, spans, **named)

    store = Store()
    store.rejects = lambda trace_id: trace_id == _id(3)
    log = log_in(tmp_path / "log", store, timing=ON_DEMAND)
    await log.start()
    assert all(await asyncio.gather(*(log.append(record_of(event(number))) for number in range(1, 6))))
    assert await log.is_applied("acc_1")
    assert store.stored == {_id(number): 1 for number in (1, 2, 4, 5)}
    (kept,) = _aside(tmp_path / "log")
    (group,) = ExportTraceServiceRequest.FromString(kept.read_bytes()).resource_spans
    assert [span.trace_id for span in group.scope_spans[0].spans] == [_id(3)]
    assert log.rejected_events == 1
    await log.close()
    assert not _log_files(tmp_path / "log")


@in_event_loop
async def test_events_are_not_rejected_after_the_clock_went_back(tmp_path: Path) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1)
    now_ms = START_NS // 1_000_000 - MAX_CLOCK_SKEW_MS - 1000
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=AT_ONCE, clock_ms=lambda: now_ms)
    await log.start()
    assert not store.requests
    now_ms += 2000
    assert await log.is_applied("acc_1")
    assert store.stored == {_id(1): 1}
    await log.close()


@in_event_loop
async def test_beyond_its_memory_the_log_takes_no_record(tmp_path: Path) -> None:
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=ON_DEMAND, max_bytes=10_000)
    await log.start()
    numbers = iter(range(1, 10_000))
    while await log.append(record_of(event(next(numbers)))):
        pass
    assert await log.append(record_of(event(next(numbers)), account_id="acc_2"))  # others have left room for it
    assert await log.is_applied("acc_1")
    assert await log.append(record_of(event(next(numbers))))
    await log.close()


@in_event_loop
async def test_below_the_reserve_of_free_space_the_log_takes_no_record(tmp_path: Path) -> None:
    log = log_in(tmp_path / "log", StoreOfIds(), can_store=lambda: False)
    await log.start()
    assert not await log.append(record_of(event(1)))
    assert not _log_files(tmp_path / "log")
    await log.close()


@pytest.mark.parametrize("failing", range(4))
def test_a_file_that_could_not_be_written_is_never_written_again(tmp_path: Path, failing: int) -> None:
    files = FaultyFiles(Steps(fails=frozenset({1 + failing})))  # after the directory is synchronised
    segments = Segments(tmp_path / "log", files)
    with pytest.raises(OSError, match="made to fail"):
        segments.append([record_of(event(1))])
    segments.append([record_of(event(2))])
    newest = _log_files(tmp_path / "log")[-1]
    assert decoded(newest.read_bytes()).records == [record_of(event(2))]
    assert files.durable == {newest: newest.stat().st_size}


@in_event_loop
async def test_only_the_owner_can_read_the_log(tmp_path: Path) -> None:
    await _left_by_a_killed_server(tmp_path / "log", 1)
    (path,) = _log_files(tmp_path / "log")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


@in_event_loop
async def test_events_are_stored_in_smaller_groups_if_the_store_refuses_large_ones(tmp_path: Path) -> None:
    class Store(StoreOfIds):
        async def store(self, account_id: str, spans: Any, **named: Any) -> Any:
            if spans.number > 25:
                raise RejectedError(STORE_FAILED)
            return await super().store(account_id, spans, **named)

    store = Store()
    log = log_in(tmp_path / "log", store, timing=ON_DEMAND)
    await log.start()
    numbers = range(1, 101)
    assert all(await asyncio.gather(*(log.append(record_of(event(number))) for number in numbers)))
    assert await log.is_applied("acc_1")
    assert store.stored == {_id(number): 1 for number in numbers}
    await log.close()


def test_ids_that_look_like_a_record_are_not_read_as_one() -> None:
    marker = b"\1" * 12
    for start in (b"\0\1\0\4", b"\1\1\0\0", b"\0\1\0\xff"):
        # A trace id has 16 bytes: a header, and the beginning of a payload that continues with the rest of the span.
        plain = encoded(record_of(event(1, trace_id=int.from_bytes(marker + start, "big"))))
        rest = plain[plain.index(marker) + len(marker) :]
        for length in range(5, len(rest) + 1):
            checksum = zlib.crc32(rest[:length])
            fake = b"IPW1" + length.to_bytes(4, "little") + checksum.to_bytes(4, "little")
            damaged = bytearray(plain.replace(marker, fake))
            assert fake in damaged
            assert decoded(bytes(damaged)).records == []  # the checksum is that of the plain record


@in_event_loop
async def test_the_end_applies_also_what_arrived_while_the_log_was_applied(tmp_path: Path) -> None:
    store = StoreOfIds()
    log = log_in(tmp_path / "log", store, timing=AT_ONCE)
    await log.start()
    store.is_open.clear()
    assert await log.append(record_of(event(1)))
    await store.was_asked.wait()
    assert await log.append(record_of(event(2)))
    ending = asyncio.create_task(log.close())
    await asyncio.sleep(0)
    assert not await log.append(record_of(event(3)))
    store.is_open.set()
    await ending
    assert store.stored == {_id(1): 1, _id(2): 1}
    assert not _log_files(tmp_path / "log")
