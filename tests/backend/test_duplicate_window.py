"""A batch is compared with the stored events of its own time ranges, and the number of ranges is bounded."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from infraprism.backend.ingest import duplicate_window
from infraprism.backend.ingest.otlp_requests import time_ranges

_times = st.lists(st.integers(1_577_836_800_000, 1_900_000_000_000), min_size=1, max_size=200)


@given(_times)
def test_every_time_is_in_a_range_and_the_number_of_ranges_is_bounded(times: list[int]) -> None:
    merged = duplicate_window.merged(time_ranges(times).values())
    assert len(merged) <= duplicate_window.MAX_RANGES
    assert all(any(first <= time_ms <= last for first, last in merged) for time_ms in times)
    assert merged[0][0] == min(times)
    assert merged[-1][1] == max(times)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(merged))


@given(st.integers(1_577_836_800_000, 1_900_000_000_000))
def test_one_old_event_does_not_widen_the_range_of_the_others(now_ms: int) -> None:
    old_ms = now_ms - 86_400_000
    assert duplicate_window.merged(time_ranges([old_ms, now_ms, now_ms + 5]).values())[0] == (old_ms, old_ms)


def test_each_account_has_its_own_condition() -> None:
    condition = duplicate_window.condition(
        [("acc_a", {1: (5, 6)}), ("acc_b", {}), ("acc_a", {1: (7, 8)}), ("acc_c", {9: (9, 9)})]
    )
    assert condition.count("account = 'acc_a'") == 1
    assert "acc_b" not in condition
    assert duplicate_window.condition([("acc_b", {})]) == "false"
