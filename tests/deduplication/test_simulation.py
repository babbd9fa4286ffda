"""Simulated applications under several instrumentations: the share of the calls that is miscounted.

The bounds hold for 150 seeds. Measured with 1,000 seeds: sequential calls 0; concurrent tasks 0.04 %, threads 0.02 %;
spans added up to 400 ms late 0.11 %; calls that a quarter of the instrumentations miss: sequential 0, concurrent with
different counts 0.05 %, equal and concurrent in threads 8.1 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from tests.kit.candidates import EPOCH_NS
from tests.kit.simulated_calls import SHAPES, Application, application, deduplicated

SEQUENTIAL = tuple(shape for shape in SHAPES if shape not in ("tasks", "threads"))
MISS_RATE = 0.25


def applications(number: int, **fixed: Any) -> list[Application]:
    return [application(seed, **fixed) for seed in range(number)]


def miscounted(apps: Iterable[Application], lag_ms: float = 0) -> float:
    """The share of the calls that are counted twice, or not at all."""
    differences, calls = 0, 0
    for app in apps:
        differences += abs(len(deduplicated(app, lag_ms)) - app.calls)
        calls += app.calls
    return differences / calls


@pytest.mark.parametrize("shape", SEQUENTIAL)
def test_sequential_calls_are_counted_exactly_with_the_tokens_they_used(shape: str) -> None:
    for app in applications(150, shape=shape):
        used = [(call.parsed.usage.input_tokens, call.parsed.usage.output_tokens) for call in deduplicated(app)]
        assert sorted(used, key=str) == sorted(app.usages, key=str), app


@pytest.mark.parametrize("shape", ["tasks", "threads"])
def test_concurrent_calls_are_counted_exactly_if_every_instrumentation_sees_them(shape: str) -> None:
    assert miscounted(applications(150, shape=shape)) < 1 / 1000


def test_spans_that_are_added_late_and_in_another_order_are_deduplicated() -> None:
    assert miscounted(applications(150), lag_ms=400) < 4 / 1000


@pytest.mark.parametrize("shape", SEQUENTIAL)
def test_sequential_calls_that_some_instrumentations_miss_are_counted_exactly(shape: str) -> None:
    assert miscounted(applications(150, shape=shape, miss_rate=MISS_RATE)) < 1 / 1000


def test_concurrent_calls_with_different_counts_are_counted_exactly_if_some_instrumentations_miss_them() -> None:
    different = applications(150, equal_counts=False, with_counts=True, failure_rate=0, miss_rate=MISS_RATE)
    assert miscounted(different) < 1 / 1000


def test_few_equal_concurrent_calls_are_miscounted_if_some_instrumentations_miss_them() -> None:
    """Only the times distinguish equal calls: some of different instrumentations are merged although they are two."""
    assert miscounted(applications(150, shape="threads", equal_counts=True, miss_rate=MISS_RATE)) < 1 / 10


def test_every_kind_of_call_and_of_instrumentation_is_simulated() -> None:
    drawn = applications(150)
    assert {app.shape for app in drawn} == set(SHAPES)
    assert len({span.scope for app in drawn for span in app.spans}) == 13
    assert any(span.parsed.span_fields.is_stream_end for app in drawn for span in app.spans)
    assert {app.contention for app in drawn} == {1, 10}
    assert all(span.end_ns > span.start_ns >= EPOCH_NS - 5_000_000 for app in drawn for span in app.spans)
