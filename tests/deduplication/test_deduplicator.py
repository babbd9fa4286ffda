"""One billed call is one event, however many spans report it; two calls are two events."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
from tests.kit.candidates import RATE_LIMITED, candidate, deduplicate

from infraprism.attribution.scope import Attribution
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.deduplication.deduplicator import HOLD_S, Deduplicator
from infraprism.deduplication.reported_call import ReportedCall
from infraprism.dialects.table import Layer
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

CLIENT = "opentelemetry.instrumentation.genai.openai"
OTHER = "openinference.instrumentation.openai"
FRAMEWORK = "opentelemetry.instrumentation.langchain"
NATIVE = "com.anthropic.sdk.python"
LOGFIRE = "logfire.openai"
ACME = Attribution(entity_type="customer", entity_id="acme")
FAILED = Outcome(success=False, error_type="invalid_request", error_code="400")


def tokens(calls: list[Candidate]) -> list[tuple[int | None, int | None]]:
    return sorted(((c.parsed.usage.input_tokens, c.parsed.usage.output_tokens) for c in calls), key=str)


def scopes(calls: list[Candidate]) -> list[str]:
    return sorted(call.scope for call in calls)


# -- nested


def test_of_nested_spans_the_innermost_is_the_call() -> None:
    outer = candidate(OTHER, 0, 100, trace_id=1, span_id=1)
    inner = candidate(CLIENT, 5, 95, trace_id=1, span_id=2, parent_id=1)
    assert scopes(deduplicate(outer, inner)) == [CLIENT]


def test_spans_that_report_no_call_may_be_between_two_of_one_call() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, 5, 95, (None, None), trace_id=1, span_id=9, parent_id=8, model="azure-name"), 0)
    deduplicator.link(1, 8, 7)
    deduplicator.link(1, 7, 6)
    deduplicator.add(candidate(OTHER, 0, 500_000, (None, None), trace_id=1, span_id=6, model="alias"), 0)
    assert scopes(deduplicator.close()) == [CLIENT]


def test_an_outer_span_that_ends_long_after_its_call_was_released_is_no_second_call() -> None:
    inner = candidate(CLIENT, 5, 95, trace_id=1, span_id=2, parent_id=1)
    outer = candidate(OTHER, 0, 60_000, trace_id=1, span_id=1)
    assert scopes(deduplicate(inner, outer)) == [CLIENT]


@pytest.mark.parametrize("scope", ["some.agent", CLIENT])
@pytest.mark.parametrize("count", [2, 5])
def test_a_span_with_the_sum_of_its_nested_calls_is_no_call(count: int, scope: str) -> None:
    calls = [
        candidate(CLIENT, 10 * n, 10 * n + 9, (100 + n, 10), trace_id=1, parent_id=1, response_id=f"chatcmpl-{n}")
        for n in range(count)
    ]
    agent = candidate(scope, 0, 1000, (sum(100 + n for n in range(count)), 10 * count), trace_id=1, span_id=1)
    assert len(deduplicate(*calls, agent)) == count


def test_an_agent_that_repeats_only_its_last_call_is_no_call() -> None:
    first = candidate(CLIENT, 1, 9, (100, 10), trace_id=1, parent_id=1)
    last = candidate(CLIENT, 11, 19, (200, 20), trace_id=1, parent_id=1)
    agent = candidate("some.agent", 0, 20, (200, 20), trace_id=1, span_id=1)
    assert tokens(deduplicate(first, last, agent)) == [(100, 10), (200, 20)]


def test_an_agent_span_that_is_added_before_its_last_call_is_no_call() -> None:
    first = candidate(CLIENT, 1, 9, (100, 10), trace_id=1, parent_id=1)
    last = candidate(CLIENT, 11, 19, (200, 20), trace_id=1, parent_id=1)
    agent = candidate("some.agent", 0, 20, (300, 30), trace_id=1, span_id=1)
    deduplicator = Deduplicator()
    for each in (first, agent, last):
        deduplicator.add(each, now_s=0)
    assert tokens(deduplicator.close()) == [(100, 10), (200, 20)]


def test_spans_with_different_ids_are_not_merged_by_a_third_span_that_matches_both() -> None:
    calls = [
        candidate(FRAMEWORK, 0, 100, layer=Layer.FRAMEWORK),
        candidate(CLIENT, 5, 95, response_id="chatcmpl-1"),
        candidate(OTHER, 5, 90, response_id="chatcmpl-2"),
    ]
    assert len(deduplicate(*calls)) == 2


def test_a_nested_call_of_another_operation_is_a_call_of_its_own() -> None:
    chat = candidate(CLIENT, 0, 100, (111, 37), trace_id=1, span_id=1)
    lookup = candidate(CLIENT, 1, 10, (9, None), trace_id=1, parent_id=1, operation="embeddings", model="embed-3")
    assert len(deduplicate(chat, lookup)) == 2


def test_a_nested_call_of_another_model_with_other_counts_is_a_call_of_its_own() -> None:
    chat = candidate(FRAMEWORK, 0, 100, (500, 100), trace_id=1, span_id=1, model="claude-sonnet-4-5")
    check = candidate(CLIENT, 1, 10, (50, 1), trace_id=1, parent_id=1, model="gpt-4o-mini")
    assert tokens(deduplicate(chat, check)) == [(50, 1), (500, 100)]


def test_nested_spans_with_different_ids_are_two_calls() -> None:
    first = candidate(CLIENT, 0, 100, trace_id=1, span_id=1, response_id="chatcmpl-a")
    second = candidate(CLIENT, 20, 80, trace_id=1, parent_id=1, response_id="chatcmpl-b")
    assert len(deduplicate(first, second)) == 2


@pytest.mark.parametrize("counts", [(111, 37), (None, None)])
def test_an_equal_call_during_a_stream_of_the_same_scope_is_a_call_of_its_own(counts: tuple[int | None, ...]) -> None:
    stream = candidate(OTHER, 0, 100, counts, trace_id=1, span_id=1)  # type: ignore[arg-type]  # a pair
    second = candidate(OTHER, 20, 80, counts, trace_id=1, parent_id=1)  # type: ignore[arg-type]  # a pair
    assert len(deduplicate(stream, second)) == 2


def test_a_child_span_that_starts_after_its_parent_ended_is_another_call() -> None:
    first = candidate(OTHER, 0, 100, trace_id=1, span_id=1)
    second = candidate(OTHER, 150, 250, trace_id=1, span_id=2, parent_id=1)
    assert len(deduplicate(first, second)) == 2


def test_an_inner_span_that_ends_after_the_outer_one_is_still_the_same_call() -> None:
    outer = candidate(LOGFIRE, 0, 10, (None, None), trace_id=1, span_id=1)
    inner = candidate(NATIVE, 1, 900, (166, 37), trace_id=1, parent_id=1)
    assert tokens(deduplicate(outer, inner)) == [(166, 37)]


def test_an_enclosing_span_with_an_alias_of_the_model_is_the_same_call() -> None:
    outer = candidate("litellm", 0, 100, trace_id=1, span_id=1, model="my-deployment")
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, model="gpt-4o-mini")
    assert len(deduplicate(outer, inner)) == 1


def test_nested_spans_of_one_scope_with_equal_counts_and_times_are_one_call() -> None:
    outer = candidate(OTHER, 0, 100, trace_id=1, span_id=1)
    inner = candidate(OTHER, 5, 95, trace_id=1, parent_id=1)
    assert len(deduplicate(outer, inner)) == 1


# -- siblings and other traces


def test_siblings_of_different_instrumentations_are_one_call() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, parent_id=7, layer=Layer.FRAMEWORK)
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=7, model="gpt-4o-mini-2024-07-18")
    assert scopes(deduplicate(outer, inner)) == [CLIENT]


def test_spans_in_two_traces_are_one_call_if_one_has_no_parent() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, parent_id=7)
    assert len(deduplicate(outer, candidate(CLIENT, 5, 95, trace_id=2))) == 1
    assert len(deduplicate(outer, candidate(CLIENT, 5, 95, trace_id=2, parent_id=8))) == 2


def test_three_spans_of_one_call_are_one_call() -> None:
    spans = [
        candidate(FRAMEWORK, 0, 100, trace_id=1, layer=Layer.FRAMEWORK, response_id="chatcmpl-1"),
        candidate(CLIENT, 5, 95, trace_id=2, span_id=5, response_id="chatcmpl-1"),
        candidate(OTHER, 7, 94, trace_id=2, parent_id=5),
    ]
    assert len(deduplicate(*spans)) == 1


def test_equal_calls_of_one_instrumentation_are_two_calls() -> None:
    assert len(deduplicate(candidate(CLIENT, 0, 100), candidate(CLIENT, 5, 95))) == 2
    assert len(deduplicate(candidate(CLIENT, 0, 100), candidate(CLIENT, 0, 100))) == 2
    same_id = {"response_id": "chatcmpl-constant"}
    assert len(deduplicate(candidate(CLIENT, 0, 100, **same_id), candidate(CLIENT, 200, 300, **same_id))) == 2


def test_spans_that_do_not_contain_each_other_in_time_are_two_calls() -> None:
    assert len(deduplicate(candidate(FRAMEWORK, 0, 100), candidate(CLIENT, 50, 150))) == 2


def test_a_span_that_starts_after_another_has_ended_is_another_call_however_short_it_is() -> None:
    assert len(deduplicate(candidate(CLIENT, 0, 100), candidate(OTHER, 103, 104))) == 2
    refused = candidate(OTHER, 103, 104, (None, None), model="my-deployment", parent_id=1, outcome=RATE_LIMITED)
    assert len(deduplicate(candidate(INSTRUMENTATION_SCOPE, 0, 100, (None, None)), refused)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "gpt-4o"}, {"model": "gpt-4o-mini"}),
        ({"tokens": (111, 37)}, {"tokens": (111, 99)}),
        ({"tokens": (111, 37)}, {"tokens": (112, 37)}),
        ({"operation": "chat"}, {"operation": "embeddings"}),
        ({"response_id": "chatcmpl-1"}, {"response_id": "chatcmpl-2"}),
        ({"outcome": FAILED, "tokens": (None, None)}, {"outcome": Outcome()}),
    ],
)
def test_spans_that_contradict_each_other_are_two_calls(one: dict[str, object], other: dict[str, object]) -> None:
    spans = candidate(FRAMEWORK, 0, 100, **one), candidate(CLIENT, 5, 95, **other)  # type: ignore[arg-type]  # parameters
    assert len(deduplicate(*spans)) == 2


def test_a_deployment_name_is_no_other_model_if_the_spans_start_and_end_together() -> None:
    deployment = {"model": "my-deployment", "tokens": (None, None)}
    uncounted = {"tokens": (None, None)}
    outer, inner = candidate(FRAMEWORK, 0, 100, **deployment), candidate(CLIENT, 5, 95, **uncounted)  # type: ignore[arg-type]  # parameters
    assert len(deduplicate(outer, inner)) == 1
    later = candidate(CLIENT, 350, 950, **uncounted)  # type: ignore[arg-type]  # parameters
    assert len(deduplicate(candidate(FRAMEWORK, 0, 1000, **deployment), later)) == 2  # type: ignore[arg-type]  # parameters


def test_a_repeated_response_id_is_another_call_after_ten_seconds() -> None:
    ids = {"response_id": "chatcmpl-constant"}
    assert len(deduplicate(candidate(FRAMEWORK, 0, 100, **ids), candidate(CLIENT, 9_000, 9_100, **ids))) == 1
    assert len(deduplicate(candidate(FRAMEWORK, 0, 100, **ids), candidate(CLIENT, 11_000, 11_100, **ids))) == 2


def test_an_id_that_a_framework_generated_is_not_compared() -> None:
    spans = candidate(FRAMEWORK, 0, 100, response_id="run--77"), candidate(CLIENT, 5, 95, response_id="chatcmpl-1")
    assert len(deduplicate(*spans)) == 1


def test_two_spans_with_the_same_failure_are_one_call() -> None:
    failed = {"tokens": (None, None), "outcome": FAILED}
    assert len(deduplicate(candidate(FRAMEWORK, 0, 100, **failed), candidate(CLIENT, 5, 95, **failed))) == 1  # type: ignore[arg-type]  # parameters


def test_the_span_of_a_framework_that_retries_is_merged_with_the_last_attempt() -> None:
    first = candidate(CLIENT, 5, 40, (None, None), trace_id=1, parent_id=1, outcome=RATE_LIMITED)
    second = candidate(CLIENT, 50, 95, trace_id=1, parent_id=1)
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1)
    calls = deduplicate(first, second, outer)
    assert [call.outcome.success for call in calls] == [False, True]
    apart = deduplicate(first._replace(parent_id=0), second._replace(parent_id=0), outer._replace(trace_id=3))
    assert len(apart) == 2


def test_a_failure_that_a_wrapper_passes_on_late_in_another_trace_is_one_call() -> None:
    client = candidate(CLIENT, 15, 23, (None, None), outcome=RATE_LIMITED)
    wrapper = candidate("litellm", 0, 1490, (None, None), outcome=RATE_LIMITED)
    assert len(deduplicate(client, wrapper)) == 1
    assert len(deduplicate(client, wrapper._replace(outcome=FAILED))) == 2
    attempts = [candidate(CLIENT, at, at + 8, (None, None), outcome=RATE_LIMITED) for at in (15, 700, 1480)]
    assert len(deduplicate(*attempts, wrapper)) == 3


def test_separate_attempts_stay_separate() -> None:
    attempts = [
        candidate("ai", at, at + 9, (None, None), trace_id=1, parent_id=1, outcome=RATE_LIMITED) for at in (0, 20)
    ]
    assert len(deduplicate(*attempts)) == 2


# -- merged values


def test_missing_values_are_taken_from_the_outer_span() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, host="x.openai.azure.com", layer=Layer.FRAMEWORK)
    inner = candidate(CLIENT, 5, 95, (None, None), trace_id=1, parent_id=1, response_id="chatcmpl-1")
    (call,) = deduplicate(outer, inner)
    assert tokens([call]) == [(111, 37)]
    assert (call.scope, call.parsed.span_fields.host) == (CLIENT, "x.openai.azure.com")


def test_usage_details_are_taken_only_from_spans_with_equal_counts() -> None:
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1)
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, usage={"cache_read_tokens": 40})
    (call,) = deduplicate(outer, inner)
    assert call.parsed.usage.cache_read_tokens == 40
    differs = candidate(FRAMEWORK, 0, 100, (71, 37), trace_id=1, span_id=1, usage={"cache_read_tokens": 40})
    (call,) = deduplicate(differs, inner)
    assert call.parsed.usage.cache_read_tokens is None


def test_the_counts_of_the_most_exact_span_are_used() -> None:
    outer = candidate(CLIENT, 0, 100, (166, 37), trace_id=1, span_id=1, rank=0)
    inner = candidate("openlit", 5, 95, (40, 15), trace_id=1, parent_id=1, rank=2)
    assert tokens(deduplicate(outer, inner)) == [(166, 37)]


def test_a_more_specific_provider_than_openai_is_used() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, provider="azure")
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, provider="openai")
    (call,) = deduplicate(outer, inner)
    assert call.parsed.span_fields.provider == "azure"


def test_attributions_of_all_spans_are_merged_innermost_first() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, attribution=ACME._replace(session_id="outer"))
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, attribution=Attribution(session_id="inner"))
    (call,) = deduplicate(outer, inner)
    assert call.attribution == ACME._replace(session_id="inner")


def test_a_stream_that_broke_off_is_a_failure_if_only_the_outer_span_reports_it() -> None:
    broken = Outcome(success=False, error_type="server_error", error_code=None)
    outer = candidate(CLIENT, 0, 100, (None, None), trace_id=1, span_id=1, outcome=broken)
    inner = candidate(OTHER, 5, 95, (None, None), trace_id=1, parent_id=1)
    (call,) = deduplicate(outer, inner)
    assert call.outcome == broken


# -- our own instrumentation


def test_our_own_spans_are_never_held() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(INSTRUMENTATION_SCOPE, 0, 100), now_s=0)
    assert len(deduplicator.due(0)) == 1
    assert deduplicator.next_due_s is None


@pytest.mark.parametrize("ours_is_inner", [True, False])
def test_our_own_span_is_the_call_as_the_outer_and_as_the_inner_span(ours_is_inner: bool) -> None:
    outer, inner = (OTHER, INSTRUMENTATION_SCOPE) if ours_is_inner else (INSTRUMENTATION_SCOPE, OTHER)
    spans = candidate(outer, 0, 100, trace_id=1, span_id=1), candidate(inner, 5, 95, trace_id=1, parent_id=1)
    assert scopes(deduplicate(*spans)) == [INSTRUMENTATION_SCOPE]


def test_the_first_span_of_another_instrumentation_is_matched_with_our_earlier_call() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(INSTRUMENTATION_SCOPE, 5, 95, trace_id=1, parent_id=1), now_s=0.1)
    deduplicator.add(candidate(FRAMEWORK, 0, 100, trace_id=2), now_s=0.1)
    assert scopes(deduplicator.close()) == [INSTRUMENTATION_SCOPE]


def test_our_own_call_has_no_counts_of_other_spans() -> None:
    spans = (
        candidate(FRAMEWORK, 0, 100, (40, 15), trace_id=1, span_id=1, attribution=ACME),
        candidate(INSTRUMENTATION_SCOPE, 5, 95, (None, None), trace_id=1, parent_id=1),
    )
    first = candidate(FRAMEWORK, -900, -800, (1, 1))
    calls = deduplicate(first, *spans)
    assert tokens([call for call in calls if call.scope == INSTRUMENTATION_SCOPE]) == [(None, None)]


# -- time and memory


def test_a_call_is_held_for_one_second() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, 0, 100), now_s=10)
    assert deduplicator.next_due_s == 10 + HOLD_S <= 12
    assert deduplicator.due(10 + HOLD_S - 0.01) == []
    assert len(deduplicator.due(10 + HOLD_S)) == 1
    assert deduplicator.next_due_s is None


def test_a_flush_releases_all_calls_and_later_spans_of_them_are_still_matched() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, 5, 95), now_s=0)
    assert len(deduplicator.flush()) == 1
    deduplicator.add(candidate(FRAMEWORK, 0, 100), now_s=0)
    assert deduplicator.close() == []


def remembered_calls() -> int:
    gc.collect()
    return sum(type(each) is ReportedCall for each in gc.get_objects())


@pytest.mark.parametrize("parent_id", [0, 7])
def test_memory_is_bounded_and_no_call_is_lost(parent_id: int) -> None:
    before = remembered_calls()
    deduplicator = Deduplicator(max_calls=50)
    count = 0
    for number in range(1000):
        at = number * 10
        response_id = f"chatcmpl-{number}"
        deduplicator.add(
            candidate(CLIENT, at, at + 5, trace_id=number + 1, parent_id=parent_id, response_id=response_id), 0
        )
        deduplicator.link(number + 1, 7, 6)
        count += len(deduplicator.due(0))
        assert len(deduplicator) <= 50
    assert remembered_calls() - before <= (1000 if parent_id else 50)
    assert count + len(deduplicator.close()) == 1000


def test_each_call_is_released_once_by_due_flush_and_close() -> None:
    deduplicator = Deduplicator()
    released: list[Candidate] = []
    for at, later in pairwise(range(0, 5000, 100)):
        deduplicator.add(candidate(CLIENT, at, later), at / 1000)
        released += deduplicator.due(later / 1000)
        if at % 700 == 0:
            released += deduplicator.flush()
    released += deduplicator.close() + deduplicator.close() + deduplicator.flush()
    assert len(released) == len({call.span_id for call in released}) == 49


def test_two_spans_of_one_call_are_merged_by_the_span_between_them_that_ends_last() -> None:
    outer = candidate(OTHER, 0, 10, (None, None), trace_id=1, span_id=1)
    inner = candidate(INSTRUMENTATION_SCOPE, 7, 900, trace_id=1, span_id=3, parent_id=2, response_id="msg_1")
    between = candidate(CLIENT, 6, 910, trace_id=1, span_id=2, parent_id=1, response_id="msg_1")
    assert scopes(deduplicate(outer, inner, between)) == [INSTRUMENTATION_SCOPE]
    other_inner = inner._replace(scope=NATIVE)
    assert scopes(deduplicate(outer, other_inner, between)) == [NATIVE]
