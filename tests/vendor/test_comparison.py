"""The judgement over the vendors' own tests, which `make vendor-tests` runs."""

from __future__ import annotations

from tests.vendor.comparison import candidates, compare


def test_tests_that_do_the_same_are_not_run_again() -> None:
    runs = {"a": "passed", "b": "failed", "c": "skipped"}

    assert candidates(runs, dict(runs)) == []


def test_a_test_that_ran_on_one_side_only_is_looked_at() -> None:
    assert candidates({"a": "passed"}, {"b": "passed"}) == ["a", "b"]


def test_a_test_that_always_passes_without_us_and_once_fails_with_us_is_broken() -> None:
    found = compare(["a"], [{"a": "passed"}] * 3, [{"a": "passed"}, {"a": "failed"}, {"a": "passed"}])

    assert (found.broken, found.same) == (["a"], False)


def test_a_test_that_is_skipped_or_missing_with_us_is_broken() -> None:
    found = compare(["a", "b"], [{"a": "passed", "b": "passed"}], [{"a": "skipped"}])

    assert found.broken == ["a", "b"]


def test_a_test_that_passes_only_with_us_is_told_as_well() -> None:
    found = compare(["a"], [{"a": "failed"}] * 2, [{"a": "passed"}] * 2)

    assert (found.mended, found.same) == (["a"], False)


def test_a_test_that_fails_at_times_without_us_says_nothing_about_us() -> None:
    found = compare(["a"], [{"a": "passed"}, {"a": "failed"}], [{"a": "failed"}] * 2)

    assert (found.unstable, found.same) == (["a"], True)
