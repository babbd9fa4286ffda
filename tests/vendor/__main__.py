"""Hold our instrumentation against the vendors' own tests: exactly the same must pass with it as without.

    python -m tests.vendor [openai] [anthropic]

Tests that differ between the two runs are run again alone, three times each way, so that one that fails at times by
itself is told from one that we broke. Ends with 1 if any test differs, if too few passed, or if too few calls were
seen.
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
"""More differences than these are no accident, and are not run again."""


def judge(suite: Suite, place: Environment) -> list[str]:
    """Run a suite both ways; the complaints."""
    arguments = [
        *suite.tests,
        *(f"--{'deselect' if '::' in without else 'ignore'}={without}" for without in suite.without),
    ]
    runs: list[Run] = []
    for observe in (False, True):
        began = time.monotonic()
        runs.append(run(place, arguments, observe=observe, workers=os.cpu_count() or 2))
        way, took_s = "observed" if observe else "alone", time.monotonic() - began
        print(f"{suite.name} {way:9}{_summary(runs[-1])} ({took_s:.0f} s)", flush=True)
    without, observed = runs
    compared = _compared(place, without, observed)
    for test in compared.unstable:
        print(f"{suite.name} is unstable without us as well: {test}")
    return [f"{suite.name}: {complaint}" for complaint in _complaints(suite, without, observed, compared)]


def _compared(place: Environment, without: Run, observed: Run) -> Comparison:
    differing = candidates(without.outcomes, observed.outcomes)
    if not differing or len(differing) > MAX_ALONE:
        return compare(differing, [without.outcomes], [observed.outcomes])
    print(f"{len(differing)} differ; running them again, alone ...", flush=True)
    again = {
        observe: [run(place, differing, observe=observe, workers=0, ids=True).outcomes for _ in range(ROUNDS)]
        for observe in (False, True)
    }
    return compare(differing, again[False], again[True])


def _complaints(suite: Suite, without: Run, observed: Run, compared: Comparison) -> Iterator[str]:
    yield from (f"passes without our instrumentation and fails with it: {test}" for test in compared.broken)
    yield from (f"fails without our instrumentation and passes with it: {test}" for test in compared.mended)
    if len(without.passed) < suite.fewest_passing:
        yield f"only {len(without.passed)} tests pass without instrumentation, expected {suite.fewest_passing}"
    if observed.spans.total() < suite.fewest_spans:
        yield f"only {observed.spans.total()} calls were observed, expected {suite.fewest_spans}"
    if without.spans:
        yield "spans were seen without our instrumentation"
    for where, count in observed.errors.items():
        yield f"{count} errors of ours were swallowed at {where}"


def _summary(found: Run) -> str:
    failed = sum(outcome == "failed" for outcome in found.outcomes.values())
    skipped = sum(outcome == "skipped" for outcome in found.outcomes.values())
    seen = f", {found.spans.total()} calls seen ({found.spans['failed']} failed)" if found.spans else ""
    return f"{len(found.passed)} passed, {failed} failed, {skipped} skipped{seen}"


def main(names: list[str]) -> int:
    """Judge the suites of these packages, or all."""
    suites = [suite for suite in SUITES if not names or suite.package in names]
    with ThreadPoolExecutor() as pool:  # many of their tests only wait, as making an environment does
        places = list(pool.map(environment, suites))
        complaints = [complaint for found in pool.map(judge, suites, places) for complaint in found]
    for complaint in complaints:
        print(complaint)
    print("Exactly the same tests pass." if not complaints else f"{len(complaints)} complaints.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
