"""The benchmark of the receiver runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.command import clean_environment

ROOT = Path(__file__).parents[2]
SHORT = ("--seconds", "0.1", "--rounds", "1", "--requests", "2", "--spans", "3", "--connections", "2")


@pytest.mark.parametrize(("what", "only"), [("events", "from bytes"), ("events", "gRPC, 2"), ("third-party", "HTTP")])
def test_the_benchmark_of_the_receiver_measures_each_kind_of_request(what: str, only: str) -> None:
    command = [sys.executable, "benchmarks/ingest.py", what, *SHORT, "--only", only]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if only in line]
    assert "not acknowledged" not in row
    assert float(row[52:].split()[0].replace(",", "")) > 0


def test_the_benchmark_of_the_receiver_compares_two_checkouts() -> None:
    command = [sys.executable, "benchmarks/ingest.py", *SHORT, "--only", "HTTP, 1 ", "--against", str(ROOT)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()[-2:]] == ["before", "this"]
