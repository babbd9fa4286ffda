"""Compare the test outcomes of runs with and without our instrumentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Outcomes = Mapping[str, str]


class Comparison(NamedTuple):
    """`broken` pass only without instrumentation, `fixed` only with it; `flaky` differ between runs without it."""

    broken: list[str]
    fixed: list[str]
    flaky: list[str]

    @property
    def same(self) -> bool:
        """Whether exactly the same tests pass."""
        return not self.broken and not self.fixed


def candidates(without: Outcomes, instrumented: Outcomes) -> list[str]:
    """The tests with different outcomes in the two runs, including those that ran in only one of them."""
    return sorted(test for test in without.keys() | instrumented.keys() if without.get(test) != instrumented.get(test))


def compare(tests: Iterable[str], without: Sequence[Outcomes], instrumented: Sequence[Outcomes]) -> Comparison:
    """Compare the outcomes of these tests in several runs with and without instrumentation.

    A test that differs between runs without instrumentation is flaky.
    """
    found = Comparison([], [], [])
    for test in tests:
        outcomes = {run.get(test) for run in without}
        with_ours = {run.get(test) for run in instrumented}
        if len(outcomes) > 1:
            found.flaky.append(test)
        elif with_ours != outcomes:
            (found.broken if outcomes == {"passed"} else found.fixed).append(test)
    return found
