"""A kill at any step leaves answers that equal the events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.command import clean_environment
from tests.kit.summed_store import ACCOUNTS, SummedStore, every_cube

from infraprism.backend.store.measured_rows import MeasuredRows

_RUN = """
import os, signal, sys
from pathlib import Path
from tests.kit.summed_store import DAY_MS, FIRST_MS, SummedStore

class Killed:
    def __init__(self, client):
        self.client, self.statements = client, 0
    def step(self):
        self.statements += 1
        if self.statements == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    def command(self, sql):
        self.step()  # before the statement, and after what was done since the statement before
        self.client.command(sql)
        self.step()
    def raw_query(self, *arguments, **options):
        self.step()
        return self.client.raw_query(*arguments, **options)

store = SummedStore(Path(sys.argv[1]), wrapped=Killed)
store.insert(1, 300)
store.wait()
store.insert(2, 30, first_ms=FIRST_MS + DAY_MS, length_ms=2 * DAY_MS)
store.wait()
print("ended")
"""
_STEPS = (1, 6, 9, 12, 14, 16, 18, 19, 22, 24, 28, 31, 34, 36, 38)


def run_until(directory: Path, statement: int) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, str(directory), str(statement)],
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("statement", _STEPS)
def test_answers_equal_the_events_after_a_kill_at_this_step(tmp_path: Path, statement: int) -> None:
    status, output = run_until(tmp_path, statement)
    assert status == -9, output
    with SummedStore(tmp_path) as store:
        store.check(statement, every=False)
        store.aggregates.work()
        store.check(statement + 1, every=False)
        store.aggregates.compute_all()
        assert not store.event_rows(MeasuredRows(ACCOUNTS[0])) or all(map(store.uses_aggregates, every_cube()))
        store.check(statement)


def test_what_was_published_is_read_after_a_start(tmp_path: Path) -> None:
    status, output = run_until(tmp_path, 10_000)
    assert (status, output) == (0, "ended\n")
    with SummedStore(tmp_path) as store:
        assert not store.uses_aggregates(MeasuredRows(ACCOUNTS[0]))  # not compared with the events yet
        store.aggregates.work()
        assert store.uses_aggregates(MeasuredRows(ACCOUNTS[0]))
        store.check()
