"""Calls at once, under several instrumentations: each is matched once, however alike they are."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.candidates import candidate, settle

from infraprism.processor.settling.settler import Settler


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    calls=st.integers(1, 12),
    layers=st.integers(2, 4),
    counted=st.booleans(),
    nested=st.booleans(),
)
def test_equal_calls_at_once_are_counted_right_under_any_number_of_layers(
    seed: int, calls: int, layers: int, counted: bool, nested: bool
) -> None:
    chance = random.Random(seed)
    spans = []
    for number in range(calls):
        start, end = chance.uniform(0, 50), chance.uniform(800, 900)
        usage = (111, 37) if counted else (None, None)
        spans.extend(
            candidate(
                f"scope.{layer}",
                start + layer,
                end - layer,
                usage,
                trace_id=number + 1 if nested else 0,
                span_id=1000 * number + layer + 1,
                parent_id=1000 * number + layer if nested and layer else 0,
            )
            for layer in range(layers)
        )
    settled = settle(*spans)
    assert len(settled) == calls
    assert Counter(call.scope for call in settled) == {f"scope.{layers - 1}": calls}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 12), layers=st.integers(2, 4))
def test_calls_that_only_some_layers_saw_are_counted_right_by_what_they_used(
    seed: int, calls: int, layers: int
) -> None:
    chance = random.Random(seed)
    spans = []
    for number in range(calls):
        start, end = chance.uniform(0, 500), chance.uniform(600, 900)
        seen_by = sorted(chance.sample(range(layers), chance.randint(1, layers)))
        spans.extend(
            candidate(f"scope.{layer}", start + layer, end - layer, (100 + number, 37 + 10 * number))
            for layer in seen_by
        )
    assert sorted(c.reading.usage.input_tokens or 0 for c in settle(*spans)) == [100 + n for n in range(calls)]


def test_equal_calls_are_matched_anew_where_the_first_match_leaves_one_without() -> None:
    first, second = candidate("client", 5, 90), candidate("client", 10, 190)
    settler = Settler()
    for span in (first, second, candidate("framework", 0, 195), candidate("framework", 3, 95)):
        settler.add(span, now_s=0)
    assert len(settler.close()) == 2
