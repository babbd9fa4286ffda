"""The restore drill: backups of a server under load, which is killed meanwhile, and servers on the restored data."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.kit.backend import Backend
from tests.kit.backups import IDENTITY, RECIPIENT, backup, created, restored
from tests.kit.command import clean_environment
from tests.kit.full_disk import Sender, stored_ids

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "3"))


class Load:
    """Sends requests until the end of the block, small ones that the log takes and larger ones."""

    def __init__(self, seed: int) -> None:
        self._senders = [Sender(random.Random(f"{seed} {number}"), size) for number, size in enumerate(((1, 2), (60,)))]
        self._stopping = threading.Event()

    @property
    def acknowledged(self) -> set[str]:
        """The ids of the events that were acknowledged until now."""
        return set().union(*(set(sender.acknowledged) for sender in self._senders))

    @property
    def statuses(self) -> list[Any]:
        """The statuses of all responses."""
        return [status for sender in self._senders for status in sender.statuses]

    @contextmanager
    def on(self, backend: Backend) -> Iterator[None]:
        """Send to a server within the block."""
        self._stopping.clear()
        threads = [threading.Thread(target=self._send, args=(sender, backend)) for sender in self._senders]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _send(self, sender: Sender, backend: Backend) -> None:
        while not self._stopping.is_set():
            sender.send(backend)
            if sender.statuses.keys() - {200}:
                return

    def wait_for(self, number: int) -> set[str]:
        """Wait until as many events more are acknowledged, and return all."""
        end = len(self.acknowledged) + number
        while len(found := self.acknowledged) < end:
            assert not set(self.statuses) - {200}, self.statuses
            threading.Event().wait(0.02)
        return found


def figures(backend: Backend) -> tuple[int, Decimal, Decimal]:
    """The number of calls, their cost and their tokens, as the analytics report them."""
    (row,) = backend.get("/v1/analytics/costs", start_date="2026-01-01", end_date="2029-12-31").json["data"]
    return row["total_events"], row["total_cost"], row["total_input_tokens"] + row["total_output_tokens"]


def check(data: Path, acknowledged: set[str]) -> None:
    """A server on restored data has every event once, and its figures are those of its events."""
    with Backend(data) as backend:
        stored = stored_ids(backend)
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))
        calls, cost, tokens = figures(backend)
        assert (calls, cost, tokens) == (len(stored), len(stored) * Decimal("0.0065"), len(stored) * 650)
        assert backend.get("/readyz").json["status"] == "ok"


def begun(data: Path, storage: Path) -> subprocess.Popen[bytes]:
    """Begin a backup by the command, which asks the server."""
    environment = clean_environment(INFRAPRISM_BACKUP_TO=str(storage), INFRAPRISM_BACKUP_RECIPIENT=RECIPIENT)
    command = [sys.executable, "-m", "infraprism.cli", "backup", "create", "--data-dir", str(data)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_backup_under_load_that_is_killed_is_made_after_the_restart(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data, storage, load = tmp_path / "data", tmp_path / "backups", Load(seed)
    with Backend(data) as backend:
        with load.on(backend):
            before = load.wait_for(300)
            command = begun(data, storage)
            until = threading.Event()
            while not (data / "backup-snapshot").exists() and not list(storage.glob("backups/*.json")):
                until.wait(0.005)
            until.wait(chance.random() * 0.4)
            backend.process.send_signal(signal.SIGKILL)
            backend.process.wait()
        command.kill()
        command.wait()
    with Backend(data) as backend:  # makes the backup that was interrupted
        assert not (data / "store" / "shadow").exists() or (data / "backup-snapshot").exists()
        while not list(storage.glob("backups/*.json")):
            threading.Event().wait(0.1)
        backend.stop()
    assert not (data / "backup-snapshot").exists()
    assert not (data / "store" / "shadow").exists()
    ran = backup("verify", storage)
    assert (ran.returncode, ran.stderr) == (0, "")
    check(restored(storage, tmp_path / "restored"), before)


def test_a_backup_under_load_has_what_was_acknowledged_before(tmp_path: Path) -> None:
    data, storage, load = tmp_path / "data", tmp_path / "backups", Load(0)
    with Backend(data) as backend, load.on(backend):
        first = load.wait_for(500)
        assert created(data, storage)["events_in_store"] <= len(load.acknowledged)
        second = load.wait_for(500)
        made = created(data, storage)
    assert made["pause_ms"] < 60_000
    oldest = min(path.name.removesuffix(".json") for path in storage.glob("backups/*.json"))
    check(restored(storage, tmp_path / "oldest", "--backup", oldest), first)
    check(restored(storage, tmp_path / "newest"), second)


def test_a_restore_that_is_killed_leaves_nothing_that_starts(tmp_path: Path) -> None:
    data, storage, load = tmp_path / "data", tmp_path / "backups", Load(1)
    with Backend(data) as backend, load.on(backend):
        load.wait_for(300)
    acknowledged = load.acknowledged
    created(data, storage)
    target = tmp_path / "restored"
    environment = clean_environment(INFRAPRISM_BACKUP_TO=str(storage), INFRAPRISM_BACKUP_IDENTITY=IDENTITY)
    command = [sys.executable, "-m", "infraprism.cli", "backup", "restore", "--data-dir", str(target)]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (target / "restoring").exists():
        threading.Event().wait(0.001)
    running.kill()
    running.wait()
    assert (target / "restoring").exists()
    ran = subprocess.run(
        [sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", str(target), "--port", "0", "--grpc-port", "0"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "has an incomplete restore of a backup" in ran.stderr
    check(restored(storage, target), acknowledged)
