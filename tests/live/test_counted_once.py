"""Real instrumentations together in one process: one event a call, with ours and without, whatever the order.

The application is app.py; the provider is local and knows what it billed. Each run has other instrumentations on, in
another order, since each wraps what it finds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = (
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-genai-anthropic",
    "opentelemetry-instrumentation-openai",
    "opentelemetry-instrumentation-anthropic",
    "opentelemetry-instrumentation-langchain",
    "openinference-instrumentation-openai",
    "openinference-instrumentation-anthropic",
    "openinference-instrumentation-langchain",
    "langchain-openai",
    "langchain-anthropic",
)
ALL = "official,openllmetry,openllmetry-langchain,openinference,openinference-langchain"
OURS_AND_OTHERS = [f"infraprism,{ALL}", f"{ALL},infraprism", "openinference,infraprism,openllmetry-langchain"]
OTHERS = [
    ALL,
    "openinference,openinference-langchain",
    "openllmetry,openllmetry-langchain",
    "openinference,official,openllmetry-langchain,openinference-langchain",
]
EXPORTER_ALONE = [f"alone,{ALL}", "alone,openinference-langchain,infraprism,openllmetry"]
EVERY_RUN = ["infraprism", *OURS_AND_OTHERS, *OTHERS, *EXPORTER_ALONE]

# What these instrumentations get wrong themselves, so that no event can have it right without ours or another's help.
ADDS_THE_FIRST_COUNT = {"message_stream", "message_stream_helper"}
"""OpenLLMetry adds the output count that an Anthropic stream begins with to the one that it ends with."""


AT_A_TIME = 3


def ran(sources: str) -> dict[str, dict[str, Any]]:
    """What came of each scenario under these instrumentations."""
    scenarios: dict[str, dict[str, Any]] = all_runs()[sources].result()["scenarios"]
    return scenarios


@cache
def all_runs() -> dict[str, Future[dict[str, Any]]]:
    pool = ThreadPoolExecutor(AT_A_TIME)
    runs = {sources: pool.submit(run, sources) for sources in EVERY_RUN}
    pool.shutdown(wait=False)
    return runs


def run(sources: str) -> dict[str, Any]:
    missing = [name for name in NEEDED if not _is_installed(name)]
    assert not missing, f"run `make test`, or: pip install --group live  (missing: {', '.join(missing)})"
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.app", sources],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRACELOOP_TRACE_CONTENT": "true"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    return found


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def usage(rows: list[dict[str, Any]]) -> list[list[int | None]]:
    return sorted(([row["input_tokens"], row["output_tokens"]] for row in rows), key=str)


@pytest.mark.parametrize("sources", EVERY_RUN)
def test_each_call_is_one_event(sources: str) -> None:
    counted = {name: len(found["events"]) for name, found in ran(sources).items()}
    assert counted == {name: found["calls"] for name, found in ran(sources).items()}


@pytest.mark.parametrize("sources", [run for run in EVERY_RUN if "infraprism" in run])
def test_with_our_instrumentation_all_counts_are_the_providers(sources: str) -> None:
    found = ran(sources)
    reported = {name: sorted(of["reported"], key=str) for name, of in found.items()}
    assert {name: usage(of["events"]) for name, of in found.items()} == reported


@pytest.mark.parametrize("sources", [run for run in EVERY_RUN if "infraprism" not in run])
def test_without_it_no_count_is_another_than_the_providers(sources: str) -> None:
    for name, found in ran(sources).items():
        if "openllmetry" in sources and "official" not in sources and name in ADDS_THE_FIRST_COUNT:
            continue
        for row in found["events"]:
            counts = row["input_tokens"], row["output_tokens"]
            fitting = [
                of for of in found["reported"] if all(a is None or a == b for a, b in zip(counts, of, strict=True))
            ]
            assert fitting, (name, counts, found["reported"])


@pytest.mark.parametrize("sources", EVERY_RUN)
def test_failures_are_failures_of_their_kind(sources: str) -> None:
    found = ran(sources)
    for name in ("refused", "langchain_refused"):
        assert [row["success"] for row in found[name]["events"]] == [False]
        assert [row["error_type"] for row in found[name]["events"]] == ["invalid_request"]
    outcomes = [row["error_type"] for row in found["retried_by_the_application"]["events"]]
    assert sorted(outcomes, key=str) == [None, "rate_limit"]
    assert [row["success"] for row in found["retried_by_the_client"]["events"]] == [True]


@pytest.mark.parametrize("sources", [run for run in EVERY_RUN if "infraprism" in run or "official" in run])
def test_the_provider_that_bills_is_known(sources: str) -> None:
    for name, found in ran(sources).items():
        billed = "azure" if "azure" in name else "anthropic" if "message" in name else "openai"
        assert {row["provider"] for row in found["events"]} <= {billed}, name


@pytest.mark.parametrize("sources", EVERY_RUN)
def test_attribution_reaches_the_spans_of_all_instrumentations(sources: str) -> None:
    assert ran(sources)[""]["events"] == []


@pytest.mark.parametrize("sources", [run for run in EVERY_RUN if "infraprism" in run])
def test_a_call_that_an_official_instrumentation_has_announced_has_no_second_span_in_the_applications_telemetry(
    sources: str,
) -> None:
    assert all_runs()[sources].result()["ours_inside_official"] == 0
