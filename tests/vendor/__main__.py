"""Run the vendors' own tests with and without our instrumentation: exactly the same must pass.

    python -m tests.vendor [openai] [anthropic]

Tests with different outcomes are run again in one process, three times with and three times without, to distinguish
flaky tests from those that the instrumentation broke. The exit status is 1 if any test differs, or if too few tests
passed or too few calls were recorded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.vendor.comparison import Comparison, candidates, compare
from tests.vendor.environment import Environment, environment
from tests.vendor.runs import Run, run
from tests.vendor.suites import SUITES, Suite

ROUNDS = 3
MAX_ALONE = 300
"""If more tests differ, they are not run again."""


def check(suite: Suite, place: Environment) -> list[str]:
    """Run a suite with and without instrumentation, and return the problems."""
    arguments = [
        *suite.tests,
        *(f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in suite.excluded),
    ]
    runs: list[Run] = []
    for instrumented in (False, True):
        started = time.monotonic()
        runs.append(run(place, arguments, instrument=instrumented, workers=os.cpu_count() or 2))
        way, took_s = "with" if instrumented else "without", time.monotonic() - started
        print(f"{suite.name} {way:9}{_summary(runs[-1])} ({took_s:.0f} s)", flush=True)
    without, instrumented = runs
    compared = _compared(place, without, instrumented)
    for test in compared.flaky:
        print(f"{suite.name} is flaky without instrumentation: {test}")
    return [f"{suite.name}: {problem}" for problem in _problems(suite, without, instrumented, compared)]


def _compared(place: Environment, without: Run, instrumented: Run) -> Comparison:
    differing = candidates(without.outcomes, instrumented.outcomes)
    if not differing or len(differing) > MAX_ALONE:
        return compare(differing, [without.outcomes], [instrumented.outcomes])
    print(f"{len(differing)} differ; running them again ...", flush=True)
    again = {
        instrumented: [
            run(place, differing, instrument=instrumented, workers=0, ids=True).outcomes for _ in range(ROUNDS)
        ]
        for instrumented in (False, True)
    }
    return compare(differing, again[False], again[True])


def _problems(suite: Suite, without: Run, instrumented: Run, compared: Comparison) -> Iterator[str]:
    yield from (f"passes without our instrumentation and fails with it: {test}" for test in compared.broken)
    yield from (f"fails without our instrumentation and passes with it: {test}" for test in compared.fixed)
    if len(without.passed) < suite.fewest_passing:
        yield f"only {len(without.passed)} tests pass without instrumentation, expected {suite.fewest_passing}"
    if instrumented.spans.total() < suite.fewest_spans:
        yield f"only {instrumented.spans.total()} calls were recorded, expected {suite.fewest_spans}"
    if without.spans:
        yield "spans were recorded without our instrumentation"
    for place, count in instrumented.errors.items():
        yield f"{count} internal errors at {place}"


def _summary(found: Run) -> str:
    failed = sum(outcome == "failed" for outcome in found.outcomes.values())
    skipped = sum(outcome == "skipped" for outcome in found.outcomes.values())
    calls = f", {found.spans.total()} calls recorded ({found.spans['failed']} failed)" if found.spans else ""
    return f"{len(found.passed)} passed, {failed} failed, {skipped} skipped{calls}"


def main(names: list[str]) -> int:
    """Check the suites of these packages, or all."""
    suites = [suite for suite in SUITES if not names or suite.package in names]
    with ThreadPoolExecutor() as pool:  # many tests only wait, as installing does
        places = list(pool.map(environment, suites))
        problems = [problem for found in pool.map(check, suites, places) for problem in found]
    for problem in problems:
        print(problem)
    print("Exactly the same tests pass." if not problems else f"{len(problems)} problems.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
