"""The comparison of outcomes for `make vendor-tests`."""

from __future__ import annotations

from tests.vendor.comparison import candidates, compare


def test_tests_with_equal_outcomes_are_not_candidates() -> None:
    runs = {"a": "passed", "b": "failed", "c": "skipped"}

    assert candidates(runs, dict(runs)) == []


def test_a_test_that_ran_in_one_run_only_is_a_candidate() -> None:
    assert candidates({"a": "passed"}, {"b": "passed"}) == ["a", "b"]


def test_a_test_that_always_passes_without_and_once_fails_with_instrumentation_is_broken() -> None:
    found = compare(["a"], [{"a": "passed"}] * 3, [{"a": "passed"}, {"a": "failed"}, {"a": "passed"}])

    assert (found.broken, found.same) == (["a"], False)


def test_a_test_that_is_skipped_or_missing_with_instrumentation_is_broken() -> None:
    found = compare(["a", "b"], [{"a": "passed", "b": "passed"}], [{"a": "skipped"}])

    assert found.broken == ["a", "b"]


def test_a_test_that_passes_only_with_instrumentation_is_reported() -> None:
    found = compare(["a"], [{"a": "failed"}] * 2, [{"a": "passed"}] * 2)

    assert (found.fixed, found.same) == (["a"], False)


def test_a_test_that_is_flaky_without_instrumentation_is_not_broken() -> None:
    found = compare(["a"], [{"a": "passed"}, {"a": "failed"}], [{"a": "failed"}] * 2)

    assert (found.flaky, found.same) == (["a"], True)
