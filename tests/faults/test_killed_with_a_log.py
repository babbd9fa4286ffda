"""The server is killed while small requests are sent: what it acknowledged is there once, before the first response."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from tests.kit.backend import Backend
from tests.kit.full_disk import Sender, stored_ids

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "1"))
_SENDERS: Final = 8
_KILLS: Final = 4


@pytest.mark.parametrize("seed", range(SEEDS))
def test_acknowledged_small_requests_are_there_once_after_kills(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    for _ in range(_KILLS):
        with Backend(tmp_path / "data") as backend, ThreadPoolExecutor(_SENDERS) as pool:
            stored = stored_ids(backend)
            assert acknowledged <= set(stored)
            assert len(stored) == len(set(stored))
            senders = [Sender(random.Random(chance.random()), (1, 2)) for _ in range(_SENDERS)]
            enough = chance.randint(20, 200)

            def send(sender: Sender, backend: Backend = backend, enough: int = enough) -> None:
                while not sender.statuses.keys() - {200}:
                    sender.send(backend)
                    if len(sender.acknowledged) == enough:
                        backend.process.send_signal(signal.SIGKILL)

            list(pool.map(send, senders))
            acknowledged.update(*(sender.acknowledged for sender in senders))
    with Backend(tmp_path / "data") as backend:
        stored = stored_ids(backend)
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))
        assert backend.stop()[0] == 0
    assert not list((tmp_path / "data" / "log").glob("*.log"))
