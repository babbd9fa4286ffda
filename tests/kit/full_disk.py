"""A server on a disk that fills and empties while events are sent: what it acknowledged, and what it has after it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import Backend, span, start
from tests.kit.events import event

DISK_MB: Final = 96
QUOTA_MB: Final = 24
_FILE_SIZE_BYTES: Final = 1_000_000
_PART: Final = re.compile(r"(?P<partition>\w+)_(?P<first>\d+)_(?P<last>\d+)_(?P<level>\d+)")


class UnavailableError(Exception):
    """This machine cannot make such a disk. The message says what is missing."""


@contextlib.contextmanager
def available(disk: contextlib.AbstractContextManager[Path]) -> Iterator[Path]:
    """The path of a disk. Where the machine cannot make it the test is skipped, with FAULTS_REQUIRED it fails."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(disk)
        except UnavailableError as error:
            if os.environ.get("FAULTS_REQUIRED"):
                raise
            pytest.skip(str(error))
        yield path


@contextlib.contextmanager
def tmpfs(path: Path) -> Iterator[Path]:
    """A file system in memory that can be full."""
    with _mounted(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(path)], path):
        yield path


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A directory that nothing can be written to."""
    _run(["mount", "--bind", str(path), str(path)])
    try:
        _run(["mount", "-o", "remount,bind,ro", str(path)])
        yield
    finally:
        _run(["umount", str(path)])


@contextlib.contextmanager
def quota(path: Path) -> Iterator[Path]:
    """A directory with a quota. The free space of its file system does not show the quota."""
    if shutil.which("mkfs.btrfs") is None:
        raise UnavailableError("a quota needs mkfs.btrfs: install btrfs-progs")
    image = path.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(512 * 2**20)
    _run(["mkfs.btrfs", "-q", str(image)])
    try:
        with _mounted(["mount", "-o", "loop", str(image), str(path)], path):
            limited = path / "limited"
            _run(["btrfs", "quota", "enable", str(path)])
            _run(["btrfs", "subvolume", "create", str(limited)])
            _run(["btrfs", "qgroup", "limit", f"{QUOTA_MB}M", str(limited)])
            yield limited
    finally:
        image.unlink()


def lift_quota(limited: Path) -> None:
    """Remove the limit of the directory of `quota`."""
    _run(["btrfs", "qgroup", "limit", "none", str(limited)])


@contextlib.contextmanager
def _mounted(mount: list[str], path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        raise UnavailableError("a file system for the test is mounted: run as root")
    _run(mount)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {done.stderr.strip()}")


class Filler(threading.Thread):
    """Fills the disk and frees it, at random, until `stop`."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._file = directory / "other"
        self._chance = chance
        self._stopping = threading.Event()

    def run(self) -> None:
        """Fill and free."""
        while not self._stopping.is_set():
            self.fill(self._chance.choice((0, 0, 200_000, 1_000_000, 3_000_000, 8_000_000)))
            self._stopping.wait(self._chance.uniform(0.02, 0.3))
            self.free()
            self._stopping.wait(self._chance.uniform(0.02, 0.3))

    def fill(self, left_bytes: int = 0) -> None:
        """Write until the disk is full, or until `left_bytes` are free."""
        found = os.statvfs(self._file.parent)
        wanted = found.f_bavail * found.f_frsize - left_bytes
        with contextlib.suppress(OSError), self._file.open("wb", buffering=0) as file:
            while wanted > 0:
                wanted -= file.write(bytes(min(wanted, 2**20)))

    def free(self) -> None:
        """Delete what was written."""
        self._file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop, with the disk free."""
        self._stopping.set()
        self.join()
        self.free()


@dataclass
class Sender:
    """Sends requests of some number of large events, and remembers the ids of acknowledged ones."""

    chance: random.Random
    events: tuple[int, ...] = (10, 50, 100)
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int | str] = field(default_factory=Counter)

    def send(self, backend: Backend) -> None:
        """Send one request."""
        spans = [self._span() for _ in range(self.chance.choice(self.events))]
        try:
            answer = backend.export(*spans)
        except (OSError, urllib.error.URLError) as error:
            self.statuses[type(error).__name__] += 1
            return
        self.statuses[answer.status] += 1
        if answer.status == 200:
            assert answer.rejected == 0
            self.acknowledged.update(map(event_id, spans))

    def _span(self) -> Span:
        random_text = lambda size: self.chance.randbytes(size).hex()  # noqa: E731  # incompressible
        made = span(
            event(
                timestamp_ns=time.time_ns() - 5_000_000_000,
                entity_id=random_text(100),
                session_id=random_text(100),
                tags={f"key_{number}": random_text(120) for number in range(20)},
            )
        )
        made.trace_id, made.span_id = self.chance.randbytes(16), self.chance.randbytes(8)
        return made


def event_id(made: Span) -> str:
    """The id of the event of a span."""
    return "evt_" + sha256(made.trace_id + made.span_id).digest()[:16].hex()


def stored_ids(backend: Backend) -> list[str]:
    """The ids of all stored events."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = backend.get("/v1/events", limit=1000, **cursor)
        assert answer.status == 200, answer.body
        found += [one["id"] for one in answer.json["data"]]
        if not (following := answer.json["pagination"]["next_cursor"]):
            return found
        cursor = {"cursor": following}


def limit_file_size(backend: Backend) -> None:
    """Let the server write files of 1 MB at most. Larger writes fail; the free space does not show it."""
    _, hard = resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (_FILE_SIZE_BYTES, hard))


def start_on_full_disk(data_dir: Path) -> None:
    """Start and kill a server while its disk is full. It serves, or it exits with one line."""
    process = start(data_dir)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    # The engine may write a line of its own before.
    assert line.startswith("InfraPrism is ready") or errors.splitlines()[-1].startswith("infraprism: "), (line, errors)
    assert "Traceback" not in errors


def remove_sources(data_dir: Path) -> int:
    """Delete the parts that a merged part replaced, as the engine does after their lifetime. Returns their number."""
    removed = 0
    for table in (data_dir / "store" / "store").glob("*/*"):
        parts = [(path, found) for path in table.iterdir() if (found := _PART.fullmatch(path.name))]
        for path, part in parts:
            if any(_covers(other, part) for _, other in parts):
                shutil.rmtree(path)
                removed += 1
    return removed


def _covers(merged: re.Match[str], part: re.Match[str]) -> bool:
    return (
        merged["partition"] == part["partition"]
        and int(merged["first"]) <= int(part["first"])
        and int(merged["last"]) >= int(part["last"])
        and int(merged["level"]) > int(part["level"])
    )
