"""Which cases of the fault tests run: all with `make faults`, and a selection otherwise, for less than two minutes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

ALL_CASES: Final = "FAULTS_REQUIRED" in os.environ
_Case = TypeVar("_Case")


def selected(cases: Sequence[_Case], short: Sequence[_Case]) -> Sequence[_Case]:
    """All cases with `make faults`, otherwise the `short` ones."""
    assert set(short) < set(cases), "a case of the selection does not exist"
    return cases if ALL_CASES else short
