"""Several third-party instrumentations in one process: one event per call, with and without ours, in any order.

The application is app.py, and the local provider records what it billed. The runs enable the instrumentations in
different orders, since each wraps the methods that it finds.
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
REQUIRED = (
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
STREAM_USAGE = f"infraprism,{ALL},stream_usage"
"""With INFRAPRISM_STREAM_USAGE=true."""
SEPARATE_TRACES = "openinference-langchain,openllmetry-langchain,official"
"""In this order the two LangChain instrumentations start separate traces, unless a span is open."""
ALL_RUNS = [STREAM_USAGE, "infraprism", *OURS_AND_OTHERS, *OTHERS, SEPARATE_TRACES, *EXPORTER_ALONE]

# Scenarios in which a third-party instrumentation reports a wrong count that no other span of the call corrects.
ADDS_FIRST_OUTPUT_COUNT = {"message_stream", "message_stream_helper"}
"""OpenLLMetry adds the output count of the first event of an Anthropic stream to the final one."""

CONCURRENT_RUNS = 3


def ran(sources: str) -> dict[str, dict[str, Any]]:
    """The result of each scenario with these instrumentations."""
    scenarios: dict[str, dict[str, Any]] = all_runs()[sources].result()["scenarios"]
    return scenarios


@cache
def all_runs() -> dict[str, Future[dict[str, Any]]]:
    pool = ThreadPoolExecutor(CONCURRENT_RUNS)
    runs = {sources: pool.submit(run, sources) for sources in ALL_RUNS}
    pool.shutdown(wait=False)
    return runs


def run(sources: str) -> dict[str, Any]:
    missing = [name for name in REQUIRED if not _is_installed(name)]
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


@pytest.mark.parametrize("sources", ALL_RUNS)
def test_each_call_is_one_event(sources: str) -> None:
    events = {name: len(found["events"]) for name, found in ran(sources).items()}
    expected = {name: found["calls"] for name, found in ran(sources).items()}
    if sources == SEPARATE_TRACES:  # see docs/dialects.md; `langchain_chain_in_a_span` is counted once
        del events["langchain_chain"], expected["langchain_chain"]
    assert events == expected


@pytest.mark.parametrize("sources", [run for run in ALL_RUNS if "infraprism" in run])
def test_with_our_instrumentation_all_counts_equal_the_billed_ones(sources: str) -> None:
    found = ran(sources)
    reported = {name: sorted(each["reported"], key=str) for name, each in found.items()}
    assert {name: usage(each["events"]) for name, each in found.items()} == reported


def test_usage_that_only_we_request_is_in_the_event_of_each_stream_also_below_langchain() -> None:
    found = ran(STREAM_USAGE)
    for name in ("chat_stream_without_usage", "langchain_streams_concurrent"):
        assert found[name]["events"]
        assert all(row["input_tokens"] and row["output_tokens"] for row in found[name]["events"]), name


@pytest.mark.parametrize("sources", [run for run in ALL_RUNS if "infraprism" not in run])
def test_without_our_instrumentation_no_count_differs_from_the_billed_one(sources: str) -> None:
    for name, found in ran(sources).items():
        if "openllmetry" in sources and "official" not in sources and name in ADDS_FIRST_OUTPUT_COUNT:
            continue
        for row in found["events"]:
            counts = row["input_tokens"], row["output_tokens"]
            matching = [
                each
                for each in found["reported"]
                if all(a is None or a == b for a, b in zip(counts, each, strict=True))
            ]
            assert matching, (name, counts, found["reported"])


@pytest.mark.parametrize("sources", ALL_RUNS)
def test_failed_calls_have_their_error_type(sources: str) -> None:
    found = ran(sources)
    for name in ("rejected", "langchain_rejected"):
        assert [row["success"] for row in found[name]["events"]] == [False]
        assert [row["error_type"] for row in found[name]["events"]] == ["invalid_request"]
    outcomes = [row["error_type"] for row in found["retried_by_the_application"]["events"]]
    assert sorted(outcomes, key=str) == [None, "rate_limit"]
    assert [row["success"] for row in found["retried_by_the_client"]["events"]] == [True]


@pytest.mark.parametrize("sources", [run for run in ALL_RUNS if "infraprism" in run or "official" in run])
def test_the_provider_of_every_call_is_recorded(sources: str) -> None:
    for name, found in ran(sources).items():
        billed = "azure" if "azure" in name else "anthropic" if "message" in name else "openai"
        assert {row["provider"] for row in found["events"]} <= {billed}, name


@pytest.mark.parametrize("sources", ALL_RUNS)
def test_attribution_reaches_the_spans_of_all_instrumentations(sources: str) -> None:
    assert ran(sources)[""]["events"] == []


@pytest.mark.parametrize("sources", [run for run in ALL_RUNS if "infraprism" in run])
def test_a_call_announced_by_an_official_instrumentation_has_no_second_span_in_the_applications_telemetry(
    sources: str,
) -> None:
    assert all_runs()[sources].result()["ours_nested_in_official"] == 0
