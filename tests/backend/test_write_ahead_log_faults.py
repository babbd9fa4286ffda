"""The log at every step of its file operations and of the store: a failure, the end of the process, a loss of power."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.kit.asynchronous import in_event_loop
from tests.kit.events import event
from tests.kit.log_faults import AT_ONCE, FaultyFiles, Steps, StoreOfIds, log_in, record_of

from infraprism.backend.ingest.write_ahead_log.log import Timing

_REJECTED = 3
_BRIEF = Timing(interval_s=0, retry_s=0.001, pause_s=0, read_timeout_s=0.02, close_timeout_s=1)


async def _run(directory: Path, steps: Steps, store: StoreOfIds, files: FaultyFiles) -> set[bytes]:
    """Append two rounds of events with a query between. Returns the trace ids of acknowledged events."""
    acknowledged: set[bytes] = set()
    store.steps = steps
    store.rejects = lambda trace_id: trace_id == _REJECTED.to_bytes(16, "big")
    log = log_in(directory, store, files, timing=_BRIEF)
    await log.start()
    for numbers in ((1, 2), (3, 4), (5,)):
        answers = await asyncio.gather(*(log.append(record_of(event(number))) for number in numbers))
        for number, is_durable in zip(numbers, answers, strict=True):
            if is_durable:
                acknowledged.add(number.to_bytes(16, "big"))
        await log.is_applied("acc_1")
    await log.close()
    return acknowledged


async def _restarted(directory: Path, store: StoreOfIds) -> set[bytes]:
    """Start with a working disk. Returns the trace ids that are stored or kept aside."""
    store.steps = Steps()
    log = log_in(directory, store, timing=AT_ONCE)
    await log.start()
    assert await log.is_applied("acc_1")
    await log.close()
    return _kept(directory, store)


def _kept(directory: Path, store: StoreOfIds) -> set[bytes]:
    assert not list(directory.glob("*.log"))
    aside = b"".join(path.read_bytes() for path in (directory / "not-stored").glob("*.otlp"))
    rejected = _REJECTED.to_bytes(16, "big")
    assert max(store.stored.values(), default=1) == 1
    return {trace_id for trace_id, number in store.stored.items() if number} | (
        {rejected} if rejected in aside else set()
    )


async def _steps_without_fault(directory: Path) -> int:
    steps, store = Steps(), StoreOfIds()
    files = FaultyFiles(steps)
    acknowledged = await _run(directory, steps, store, files)
    assert len(acknowledged) == 5
    assert set(files.operations) == {
        "create", "write", "synchronize", "synchronize directory", "close", "rename", "delete"
    }  # fmt: skip
    return steps.done


@pytest.mark.parametrize("loses_power", [False, True])
@in_event_loop
async def test_no_acknowledged_event_is_lost_or_double_when_the_process_ends_at_any_step(
    tmp_path: Path, *, loses_power: bool
) -> None:
    number = await _steps_without_fault(tmp_path / "whole")
    assert number > 30
    for end in range(number):
        directory = tmp_path / f"log-{end}"
        steps, store = Steps(ends=end), StoreOfIds()
        files = FaultyFiles(steps)
        try:
            acknowledged = await _run(directory, steps, store, files)
        except OSError:
            acknowledged = set()  # the log could not be opened
        if loses_power:
            files.lose_power()
        assert acknowledged <= await _restarted(directory, store), end


@in_event_loop
async def test_no_acknowledged_event_is_lost_or_double_when_any_step_fails(tmp_path: Path) -> None:
    number = await _steps_without_fault(tmp_path / "whole")
    for failing in range(1, number):  # at step 0 the log is opened
        for length in (1, 3):
            directory = tmp_path / f"log-{failing}-{length}"
            steps, store = Steps(fails=frozenset(range(failing, failing + length))), StoreOfIds()
            acknowledged = await _run(directory, steps, store, FaultyFiles(steps))
            assert acknowledged <= await _restarted(directory, store), (failing, length)
