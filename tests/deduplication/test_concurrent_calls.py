"""Equal concurrent calls under several instrumentations: each span is matched once."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.candidates import candidate, deduplicate

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
def test_equal_concurrent_calls_are_counted_exactly_under_any_number_of_instrumentations(
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
    found = deduplicate(*spans)
    assert len(found) == calls
    assert Counter(call.scope for call in found) == {f"scope.{layers - 1}": calls}


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 12), released=st.booleans())
def test_equal_calls_on_a_busy_machine_are_counted_once_whenever_each_instrumentation_runs(
    seed: int, calls: int, released: bool
) -> None:
    chance = random.Random(seed)
    deduplicator = Deduplicator(hold_s=0.0 if released else 1.0)
    clients, frameworks = [], []
    for _ in range(calls):
        start, end = chance.uniform(0, 30), chance.uniform(700, 800)
        frameworks.append(candidate("framework", start, end, (None, None), layer=FRAMEWORK))
        inner = start + chance.uniform(0, 20), end - chance.uniform(0, 80)
        clients.append(candidate("client", *inner, (None, None)))
    found = []
    for now_s, spans in enumerate((clients, frameworks)):
        for span in sorted(spans, key=lambda span: span.end_ns):
            deduplicator.add(span, now_s=now_s / 2)
        found += deduplicator.due(now_s / 2)
    assert len(found + deduplicator.close()) == calls


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), calls=st.integers(1, 12), layers=st.integers(2, 4))
def test_calls_with_different_counts_that_only_some_instrumentations_see_are_counted_exactly(
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
    assert sorted(c.parsed.usage.input_tokens or 0 for c in deduplicate(*spans)) == [100 + n for n in range(calls)]


def test_a_matched_span_is_moved_to_another_call_if_a_later_span_matches_only_its_call() -> None:
    first, second = candidate("client", 5, 90), candidate("client", 10, 190)
    deduplicator = Deduplicator()
    for span in (first, second, candidate("framework", 0, 195), candidate("framework", 3, 95)):
        deduplicator.add(span, now_s=0)
    assert len(deduplicator.close()) == 2


# Six equal calls in tasks, as three instrumentations reported them on an overloaded machine: start and end. The spans
# of the two LangChain instrumentations do not contain each other: LangChain runs their callbacks one after the other.
CLIENTS = ((594.1, 853.4), (596.8, 857.0), (599.4, 943.5), (649.0, 946.9), (635.4, 949.9), (660.6, 980.6))
WITH_ID = ((0.0, 1036.5), (1.9, 1038.7), (1.1, 1040.9), (3.3, 1041.7), (2.6, 1041.9), (8.6, 1042.2))
WITHOUT_ID = ((590.4, 1039.4), (591.9, 1042.7), (591.4, 1044.7), (605.9, 1046.3), (605.1, 1072.3), (607.0, 1073.9))


def test_equal_calls_are_counted_once_if_the_spans_of_two_frameworks_do_not_contain_each_other() -> None:
    spans = [
        *(candidate("client", *times, response_id=f"chatcmpl-{n}") for n, times in enumerate(CLIENTS)),
        *(candidate("a.langchain", *t, response_id=f"chatcmpl-{n}", layer=FRAMEWORK) for n, t in enumerate(WITH_ID)),
        *(candidate("b.langchain", *times, layer=FRAMEWORK) for times in WITHOUT_ID),
    ]
    assert len(deduplicate(*spans)) == 6


# Streams without counts, under the name of a deployment and under that of the model: start and end, as recorded.
STREAMS = ((11.5, 657.0), (40.5, 733.9), (14.0, 735.4), (21.6, 757.2), (30.7, 758.7), (37.5, 782.5))
ENCLOSING = ((0.0, 729.4), (2.2, 1091.7), (0.8, 1094.3), (1.4, 1095.4), (1.8, 1106.9), (3.5, 1426.2))


def test_streams_without_counts_are_counted_once_if_a_deployment_is_named_after_its_model() -> None:
    spans = [
        *(candidate("client", *times, (None, None), model="gpt-4o-mini-2024-07-18") for times in STREAMS),
        *(candidate("langchain", *t, (None, None), model="gpt-4o-mini-prod", layer=FRAMEWORK) for t in ENCLOSING),
    ]
    assert len(deduplicate(*spans)) == 6
    others = [span._replace(parsed=span.parsed._replace(operation="embeddings")) for span in spans[6:]]
    assert len(deduplicate(*spans[:6], *others)) == 12


def test_spans_of_two_frameworks_with_callbacks_in_turn_are_one_call_without_a_client_span() -> None:
    first, second = (candidate(name, at, at + 400, layer=FRAMEWORK) for name, at in (("a", 0), ("b", 35)))
    assert len(deduplicate(first, second)) == 1
    assert len(deduplicate(first, second._replace(start_ns=second.start_ns + 300_000_000))) == 2


def operations_per_span(calls: int, scopes: int, response_id: str | None) -> float:
    """How many functions are called and return, for each span of equal concurrent calls."""
    deduplicator = Deduplicator()
    spans = [
        candidate(f"scope.{n}", at * 0.05 + n * 0.01, at * 0.05 + 900 - n * 0.01, response_id=response_id)
        for at in range(calls)
        for n in range(scopes)
    ]
    operations = itertools.count()
    sys.setprofile(lambda *_: next(operations))
    for span in sorted(spans, key=lambda span: span.end_ns):
        deduplicator.add(span, now_s=0)
    found = deduplicator.close()
    sys.setprofile(None)
    assert len(found) == calls
    return next(operations) / len(spans)


@pytest.mark.parametrize("response_id", [None, "chatcmpl-constant"])
@pytest.mark.parametrize("scopes", [1, 2])
def test_each_span_of_many_concurrent_calls_takes_as_many_operations_as_of_a_few(
    scopes: int, response_id: str | None
) -> None:
    assert operations_per_span(4000, scopes, response_id) < 2 * operations_per_span(100, scopes, response_id)


def test_equal_calls_in_two_traces_are_matched_within_their_trace() -> None:
    spans = [
        candidate("framework", 0, 100, trace_id=1, span_id=11, parent_id=1),
        candidate("framework", 1, 101, trace_id=2, span_id=21, parent_id=2),
        candidate("client", 3, 97, trace_id=2, span_id=22, parent_id=2),
        candidate("client", 4, 98, trace_id=1, span_id=12, parent_id=1),
    ]
    released: list[set[str]] = []
    deduplicator = Deduplicator(on_release=lambda of: released.append({str(each.span_id) for each in of}))
    for span in spans:
        deduplicator.add(span, now_s=0)
    deduplicator.close()
    assert sorted(map(sorted, released)) == [["11", "12"], ["21", "22"]]
