"""No acknowledged event is lost when the disk refuses writes. `make faults` runs many seeds for a longer time."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import Final

import pytest
from tests.kit.backend import Backend, start
from tests.kit.damage import part_directories
from tests.kit.fault_cases import selected
from tests.kit.full_disk import (
    Filler,
    Sender,
    available,
    lift_quota,
    limit_file_size,
    quota,
    read_only,
    remove_sources,
    start_on_full_disk,
    stored_ids,
    tmpfs,
)

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "1"))
SECONDS: Final = float(os.environ.get("FAULT_SECONDS", "5"))
_GUARD_S: Final = 4.0
"""After this time each merged part is verified."""

pytestmark = pytest.mark.parametrize("seed", range(SEEDS))
SIZES: Final = {"large": (10, 50, 100), "small": (1, 2)}
"""Events per request. Small requests are acknowledged by the log."""
_ENDINGS: Final = selected(
    list(itertools.product(("sigterm", "sigkill", "restart on the full disk"), SIZES)),
    [("sigterm", "large"), ("sigkill", "small"), ("restart on the full disk", "large")],
)
_LIMITED: Final = selected(
    list(itertools.product((signal.SIGTERM, signal.SIGKILL), SIZES)),
    [(signal.SIGTERM, "small"), (signal.SIGKILL, "large")],
)


@pytest.mark.parametrize(("ending", "size"), _ENDINGS)
def test_acknowledged_events_are_kept_when_the_disk_is_full(tmp_path: Path, ending: str, size: str, seed: int) -> None:
    chance = random.Random(f"disk {ending} {seed}")
    with available(tmpfs(tmp_path / "disk")) as disk:
        data_dir, sender = disk / "data", Sender(chance, SIZES[size])
        backend = Backend(data_dir)
        filler = Filler(disk, chance)
        filler.start()
        _send_for(sender, backend, SECONDS)
        if ending == "sigterm":
            assert backend.stop()[0] == 0
            filler.stop()
        elif ending == "sigkill":
            backend.stop(signal.SIGKILL)
            filler.stop()
        else:
            filler.stop()
            filler.fill()
            backend.stop(signal.SIGKILL)
            start_on_full_disk(data_dir)
            filler.free()
        assert sender.statuses[503] > 0
        _check(data_dir, sender)


@pytest.mark.parametrize(("end", "size"), _LIMITED)
def test_acknowledged_events_are_kept_at_a_file_size_limit(
    tmp_path: Path, end: signal.Signals, size: str, seed: int
) -> None:
    sender = Sender(random.Random(f"file size {end} {seed}"), SIZES[size])
    backend = Backend(tmp_path / "data")
    limit_file_size(backend)
    _send_for(sender, backend, 2 * SECONDS)
    _, errors = backend.stop(end)
    # Small requests reach the limit in a merge, or in what the log collects in a second.
    reported = ("sources were restored",) if size == "large" else ("sources were restored", "the log cannot be written")
    assert any(text in errors for text in reported)
    _check(tmp_path / "data", sender)


@pytest.mark.parametrize(("end", "size"), _LIMITED)
def test_acknowledged_events_are_kept_at_a_quota(tmp_path: Path, end: signal.Signals, size: str, seed: int) -> None:
    sender = Sender(random.Random(f"quota {end} {seed}"), SIZES[size])
    with available(quota(tmp_path / "disk")) as limited:
        backend = Backend(limited / "data")
        filler = Filler(limited, sender.chance)
        filler.start()
        _send_for(sender, backend, SECONDS)
        backend.stop(end)
        filler.stop()
        assert sender.statuses[503] > 0
        start_on_full_disk(limited / "data")  # what is stored can have the size of the quota
        lift_quota(limited)
        _check(limited / "data", sender)


def test_a_start_at_an_exhausted_quota_names_the_quota(tmp_path: Path, seed: int) -> None:
    sender = Sender(random.Random(seed))
    with available(quota(tmp_path / "disk")) as limited:
        with Backend(limited / "data") as backend:
            sender.send(backend)
        filler = Filler(limited, sender.chance)
        filler.fill()
        process = start(limited / "data")
        _, errors = process.communicate(timeout=60)
        assert "free space, or raise the quota" in errors
        assert process.returncode == 1
        lift_quota(limited)
        _check(limited / "data", sender)


def test_a_table_on_a_read_only_file_system_is_not_ready_and_recovers(tmp_path: Path, seed: int) -> None:
    sender = Sender(random.Random(seed))
    with available(tmpfs(tmp_path / "disk")) as disk:
        with Backend(disk / "data") as backend:
            sender.send(backend)
            with read_only(part_directories(disk / "data")[0].parent):
                found = backend.http("/readyz", None, {})
                assert (found.status, found.json["status"]) == (503, "unavailable")
                assert "events table cannot be written" in found.json["reason"]
                sender.send(backend)
            assert backend.http("/readyz", None, {}).status == 200
        _check(disk / "data", sender)


def _send_for(sender: Sender, backend: Backend, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        sender.send(backend)


def _check(data_dir: Path, sender: Sender) -> None:
    """The events are there after a restart, and when the sources of merged parts are gone."""
    assert sender.statuses[200] > 0
    assert sender.statuses[400] == 0
    assert sender.acknowledged
    with Backend(data_dir) as backend:
        _assert_stored(backend, sender)
        sender.send(backend)
        assert sender.statuses[400] == 0
        time.sleep(_GUARD_S)  # the parts are verified by the clock of the server
    remove_sources(data_dir)
    with Backend(data_dir) as backend:
        _assert_stored(backend, sender)


def _assert_stored(backend: Backend, sender: Sender) -> None:
    stored = stored_ids(backend)
    assert sender.acknowledged - set(stored) == set()
    assert len(stored) == len(set(stored))
