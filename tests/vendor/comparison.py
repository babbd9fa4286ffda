"""Which tests tell a run with our instrumentation from one without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Outcomes = Mapping[str, str]


class Comparison(NamedTuple):
    """`broken` pass without and fail with; `mended` the other way; `unstable` do both without any instrumentation."""

    broken: list[str]
    mended: list[str]
    unstable: list[str]

    @property
    def same(self) -> bool:
        """Whether exactly the same tests pass."""
        return not self.broken and not self.mended


def candidates(without: Outcomes, observed: Outcomes) -> list[str]:
    """The tests whose outcome differs between one run and the other, those that ran in one of them only included."""
    return sorted(test for test in without.keys() | observed.keys() if without.get(test) != observed.get(test))


def compare(tests: Iterable[str], without: Sequence[Outcomes], observed: Sequence[Outcomes]) -> Comparison:
    """Judge these tests by several runs of each kind.

    Only a test that always does the same without our instrumentation can tell something about it.
    """
    found = Comparison([], [], [])
    for test in tests:
        outcomes = {run.get(test) for run in without}
        with_ours = {run.get(test) for run in observed}
        if len(outcomes) > 1:
            found.unstable.append(test)
        elif with_ours != outcomes:
            (found.broken if outcomes == {"passed"} else found.mended).append(test)
    return found
