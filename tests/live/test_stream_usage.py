"""INFRAPRISM_STREAM_USAGE below LiteLLM and LangChain: usage is counted, and the application's stream is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STREAMS = ["litellm", "litellm_async", "langchain", "langchain_async"]


@pytest.fixture(scope="module")
def requested() -> dict[str, Any]:
    return run("true")


@pytest.fixture(scope="module")
def not_requested() -> dict[str, Any]:
    return run("false")


def run(stream_usage: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.stream_usage_app"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "INFRAPRISM_STREAM_USAGE": stream_usage,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download of prices
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert list(found["received"]) == STREAMS
    return found


def test_usage_that_only_we_request_is_counted(requested: dict[str, Any], not_requested: dict[str, Any]) -> None:
    assert len(requested["reported"]) == len(STREAMS)
    assert None not in requested["reported"]
    assert requested["counts"] == requested["reported"]
    assert not_requested["counts"] == [[None, None]] * len(STREAMS)
    assert not_requested["reported"] == [None] * len(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
def test_the_application_receives_the_chunks_that_it_receives_without_the_request(
    name: str, requested: dict[str, Any], not_requested: dict[str, Any]
) -> None:
    assert len(not_requested["received"][name]) > 1
    assert requested["received"][name] == not_requested["received"][name]
