"""Whole applications under several instrumentations, drawn at random: how many calls are miscounted, of how many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from tests.kit.candidates import EPOCH_NS
from tests.kit.simulated_calls import SHAPES, World, counted, world

ONE_AT_A_TIME = tuple(shape for shape in SHAPES if shape not in ("gathered", "threads"))
MISSED = 0.25


def worlds(number: int, **given: Any) -> list[World]:
    return [world(seed, **given) for seed in range(number)]


def miscounted(worlds: Iterable[World], lag_ms: float = 0) -> float:
    """The share of the calls that are counted twice, or not at all."""
    off, of = 0, 0
    for each in worlds:
        off += abs(len(counted(each, lag_ms)) - each.calls)
        of += each.calls
    return off / of


@pytest.mark.parametrize("shape", ONE_AT_A_TIME)
def test_calls_one_at_a_time_are_counted_exactly_with_the_tokens_they_used(shape: str) -> None:
    for each in worlds(150, shape=shape):
        used = [(call.parsed.usage.input_tokens, call.parsed.usage.output_tokens) for call in counted(each)]
        assert sorted(used, key=str) == sorted(each.usages, key=str), each


@pytest.mark.parametrize("shape", ["gathered", "threads"])
def test_calls_at_once_are_counted_exactly_where_every_instrumentation_sees_them(shape: str) -> None:
    assert miscounted(worlds(150, shape=shape)) < 1 / 1000


def test_spans_that_come_late_and_in_another_order_are_still_known_for_what_they_are() -> None:
    assert miscounted(worlds(150), lag_ms=400) < 4 / 1000


@pytest.mark.parametrize("shape", ONE_AT_A_TIME)
def test_calls_one_at_a_time_that_some_instrumentations_miss_are_still_counted_exactly(shape: str) -> None:
    assert miscounted(worlds(150, shape=shape, misses=MISSED)) < 1 / 1000


def test_calls_at_once_with_different_tokens_are_told_apart_whoever_misses_them() -> None:
    told_apart = worlds(150, equal=False, counted=True, fails=0, misses=MISSED)
    assert miscounted(told_apart) < 1 / 1000


def test_few_equal_calls_at_once_are_lost_where_nothing_but_time_tells_who_missed_which() -> None:
    assert 0 < miscounted(worlds(150, shape="threads", equal=True, misses=MISSED)) < 1 / 10


def test_every_kind_of_call_and_of_instrumentation_is_among_the_simulated() -> None:
    drawn = worlds(150)
    assert {each.shape for each in drawn} == set(SHAPES)
    assert len({span.scope for each in drawn for span in each.spans}) == 13
    assert any(span.parsed.span_fields.is_stream_end for each in drawn for span in each.spans)
    assert {each.contention for each in drawn} == {1, 10}
    assert all(span.end_ns > span.start_ns >= EPOCH_NS - 5_000_000 for each in drawn for span in each.spans)
