"""Calls at once, under several instrumentations: each is matched once, however alike they are."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.candidates import candidate, settle

from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.dialects.table import Layer

FRAMEWORK = Layer.FRAMEWORK


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


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 12), given_back=st.booleans())
def test_equal_calls_on_a_busy_machine_are_counted_once_however_long_each_layer_waits_for_its_turn(
    seed: int, calls: int, given_back: bool
) -> None:
    chance = random.Random(seed)
    deduplicator = Deduplicator(hold_s=0.0 if given_back else 1.0)
    clients, frameworks = [], []
    for _ in range(calls):
        start, end = chance.uniform(0, 30), chance.uniform(700, 800)
        frameworks.append(candidate("framework", start, end, (None, None), layer=FRAMEWORK))
        inner = start + chance.uniform(0, 20), end - chance.uniform(0, 80)
        clients.append(candidate("client", *inner, (None, None)))
    settled = []
    for now_s, spans in enumerate((clients, frameworks)):
        for span in sorted(spans, key=lambda span: span.end_ns):
            deduplicator.add(span, now_s=now_s / 2)
        settled += deduplicator.due(now_s / 2)
    assert len(settled + deduplicator.close()) == calls


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
    assert sorted(c.parsed.usage.input_tokens or 0 for c in settle(*spans)) == [100 + n for n in range(calls)]


def test_equal_calls_are_matched_anew_where_the_first_match_leaves_one_without() -> None:
    first, second = candidate("client", 5, 90), candidate("client", 10, 190)
    deduplicator = Deduplicator()
    for span in (first, second, candidate("framework", 0, 195), candidate("framework", 3, 95)):
        deduplicator.add(span, now_s=0)
    assert len(deduplicator.close()) == 2


# Six equal calls in tasks, as three instrumentations reported them on a machine with too much to do: start and end. Of
# the two frameworks' spans neither is inside the other, since LangChain told both in turn.
CLIENTS = ((594.1, 853.4), (596.8, 857.0), (599.4, 943.5), (649.0, 946.9), (635.4, 949.9), (660.6, 980.6))
WITH_ID = ((0.0, 1036.5), (1.9, 1038.7), (1.1, 1040.9), (3.3, 1041.7), (2.6, 1041.9), (8.6, 1042.2))
WITHOUT_ID = ((590.4, 1039.4), (591.9, 1042.7), (591.4, 1044.7), (605.9, 1046.3), (605.1, 1072.3), (607.0, 1073.9))


def test_equal_calls_on_a_busy_machine_are_counted_once_though_two_frameworks_spans_are_not_inside_each_other() -> None:
    spans = [
        *(candidate("client", *times, response_id=f"chatcmpl-{n}") for n, times in enumerate(CLIENTS)),
        *(candidate("a.langchain", *t, response_id=f"chatcmpl-{n}", layer=FRAMEWORK) for n, t in enumerate(WITH_ID)),
        *(candidate("b.langchain", *times, layer=FRAMEWORK) for times in WITHOUT_ID),
    ]
    assert len(settle(*spans)) == 6


# Streams of which nobody knows the counts, under a deployment's name and the model's: start and end, as recorded.
STREAMS = ((11.5, 657.0), (40.5, 733.9), (14.0, 735.4), (21.6, 757.2), (30.7, 758.7), (37.5, 782.5))
AROUND_THEM = ((0.0, 729.4), (2.2, 1091.7), (0.8, 1094.3), (1.4, 1095.4), (1.8, 1106.9), (3.5, 1426.2))


def test_streams_without_counts_are_counted_once_where_a_deployment_is_named_after_its_model() -> None:
    spans = [
        *(candidate("client", *times, (None, None), model="gpt-4o-mini-2024-07-18") for times in STREAMS),
        *(candidate("langchain", *t, (None, None), model="gpt-4o-mini-prod", layer=FRAMEWORK) for t in AROUND_THEM),
    ]
    assert len(settle(*spans)) == 6
    others = [span._replace(parsed=span.parsed._replace(operation="embeddings")) for span in spans[6:]]
    assert len(settle(*spans[:6], *others)) == 12


def test_two_frameworks_spans_that_begin_and_end_in_turn_are_one_call_without_a_client_between_them() -> None:
    first, second = (candidate(name, at, at + 400, layer=FRAMEWORK) for name, at in (("a", 0), ("b", 35)))
    assert len(settle(first, second)) == 1
    assert len(settle(first, second._replace(start_ns=second.start_ns + 300_000_000))) == 2


@pytest.mark.parametrize("scopes", [1, 2])
def test_a_burst_takes_no_longer_for_each_span_than_a_few_calls_do(scopes: int) -> None:
    def seconds_for_each(calls: int) -> float:
        deduplicator = Deduplicator()
        spans = [
            candidate(f"scope.{layer}", at * 0.05 + layer * 0.01, at * 0.05 + 900 - layer * 0.01)
            for at in range(calls)
            for layer in range(scopes)
        ]
        began = time.process_time()
        for span in sorted(spans, key=lambda span: span.end_ns):
            deduplicator.add(span, now_s=0)
        assert len(deduplicator.close()) == calls
        return (time.process_time() - began) / len(spans)

    assert seconds_for_each(4000) < 8 * seconds_for_each(100)
