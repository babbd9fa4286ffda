"""Data directories of servers that were killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tests.kit.backend import Backend, span
from tests.kit.events import event

_MERGE: Final = """
import os, signal, sys
import clickhouse_connect
client = clickhouse_connect.get_client(interface="chdb", path=sys.argv[1])
client.command("OPTIMIZE TABLE events FINAL")
os.kill(os.getpid(), signal.SIGKILL)
"""


def store_two_parts(data: Path) -> None:
    """Store two parts of 20 events each, and kill the server when it has recorded them."""
    with Backend(data) as backend:
        for first in (1, 101):
            assert backend.export(*(span(event(number)) for number in range(first, first + 20))).rejected == 0
            assert backend.events()  # waits until the log is applied, which would store both requests as one part
        deadline = time.monotonic() + 30
        while "_2_2_0" not in _inventory(data) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        backend.stop(signal.SIGKILL)


def _inventory(data: Path) -> str:
    file = data / "inventory.json"
    return file.read_text() if file.exists() else ""


def merge_parts(data: Path) -> Path:
    """Merge all parts, and kill the engine. Returns the directory of the merged part; its sources are still there."""
    ran = subprocess.run([sys.executable, "-c", _MERGE, str(data / "store")], capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    (merged,) = (data / "store" / "store").glob("*/*/[0-9]*_1")
    return merged


def copied(data: Path, copy: Path) -> Path:
    """Replace `copy` by a copy of a data directory, and return it."""
    if copy.exists():
        shutil.rmtree(copy)
    # The engine's links are relative.
    shutil.copytree(data, copy, symlinks=True)
    return copy
