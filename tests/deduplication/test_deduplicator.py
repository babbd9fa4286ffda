"""One billed call is one event, however many spans report it; and two calls are never one."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
from tests.kit.candidates import RATE_LIMITED, candidate, settle

from infraprism.attribution.scope import Attribution
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.deduplication.deduplicator import HOLD_S, Deduplicator
from infraprism.deduplication.model_names import plain_model
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
    assert scopes(settle(outer, inner)) == [CLIENT]


def test_spans_that_are_no_calls_may_stand_between_two_of_one_call() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, 5, 95, (None, None), trace_id=1, span_id=9, parent_id=8, model="azure-name"), 0)
    deduplicator.link(1, 8, 7)
    deduplicator.link(1, 7, 6)
    deduplicator.add(candidate(OTHER, 0, 500_000, (None, None), trace_id=1, span_id=6, model="alias"), 0)
    assert scopes(deduplicator.close()) == [CLIENT]


def test_an_outer_span_that_ends_long_after_its_call_was_released_is_no_second_call() -> None:
    inner = candidate(CLIENT, 5, 95, trace_id=1, span_id=2, parent_id=1)
    outer = candidate(OTHER, 0, 60_000, trace_id=1, span_id=1)
    assert scopes(settle(inner, outer)) == [CLIENT]


@pytest.mark.parametrize("scope", ["some.agent", CLIENT])
@pytest.mark.parametrize("count", [2, 5])
def test_a_span_with_the_sum_of_the_calls_inside_it_is_no_call(count: int, scope: str) -> None:
    calls = [
        candidate(CLIENT, 10 * n, 10 * n + 9, (100 + n, 10), trace_id=1, parent_id=1, response_id=f"chatcmpl-{n}")
        for n in range(count)
    ]
    agent = candidate(scope, 0, 1000, (sum(100 + n for n in range(count)), 10 * count), trace_id=1, span_id=1)
    assert len(settle(*calls, agent)) == count


def test_an_agent_that_repeats_only_its_last_call_is_no_call() -> None:
    first = candidate(CLIENT, 1, 9, (100, 10), trace_id=1, parent_id=1)
    last = candidate(CLIENT, 11, 19, (200, 20), trace_id=1, parent_id=1)
    agent = candidate("some.agent", 0, 20, (200, 20), trace_id=1, span_id=1)
    assert tokens(settle(first, last, agent)) == [(100, 10), (200, 20)]


def test_an_agent_whose_span_comes_before_its_last_call_is_still_no_call() -> None:
    first = candidate(CLIENT, 1, 9, (100, 10), trace_id=1, parent_id=1)
    last = candidate(CLIENT, 11, 19, (200, 20), trace_id=1, parent_id=1)
    agent = candidate("some.agent", 0, 20, (300, 30), trace_id=1, span_id=1)
    deduplicator = Deduplicator()
    for each in (first, agent, last):
        deduplicator.add(each, now_s=0)
    assert tokens(deduplicator.close()) == [(100, 10), (200, 20)]


def test_a_span_of_another_id_is_no_part_of_a_call_that_a_third_span_would_fit() -> None:
    calls = [
        candidate(FRAMEWORK, 0, 100, layer=Layer.FRAMEWORK),
        candidate(CLIENT, 5, 95, response_id="chatcmpl-1"),
        candidate(OTHER, 5, 90, response_id="chatcmpl-2"),
    ]
    assert len(settle(*calls)) == 2


def test_a_call_that_does_something_else_inside_a_call_is_a_call_of_its_own() -> None:
    chat = candidate(CLIENT, 0, 100, (111, 37), trace_id=1, span_id=1)
    lookup = candidate(CLIENT, 1, 10, (9, None), trace_id=1, parent_id=1, operation="embeddings", model="embed-3")
    assert len(settle(chat, lookup)) == 2


def test_a_check_by_another_model_inside_a_call_is_a_call_of_its_own() -> None:
    chat = candidate(FRAMEWORK, 0, 100, (500, 100), trace_id=1, span_id=1, model="claude-sonnet-4-5")
    check = candidate(CLIENT, 1, 10, (50, 1), trace_id=1, parent_id=1, model="gpt-4o-mini")
    assert tokens(settle(chat, check)) == [(50, 1), (500, 100)]


def test_a_call_made_while_the_span_of_another_is_current_stays_two_where_their_ids_differ() -> None:
    first = candidate(CLIENT, 0, 100, trace_id=1, span_id=1, response_id="chatcmpl-a")
    second = candidate(CLIENT, 20, 80, trace_id=1, parent_id=1, response_id="chatcmpl-b")
    assert len(settle(first, second)) == 2


@pytest.mark.parametrize("counts", [(111, 37), (None, None)])
def test_an_equal_call_made_while_the_stream_of_another_is_read_stays_a_call(counts: tuple[int | None, ...]) -> None:
    stream = candidate(OTHER, 0, 100, counts, trace_id=1, span_id=1)  # type: ignore[arg-type]  # a pair
    second = candidate(OTHER, 20, 80, counts, trace_id=1, parent_id=1)  # type: ignore[arg-type]  # a pair
    assert len(settle(stream, second)) == 2


def test_a_span_below_one_that_had_ended_before_it_started_is_another_call() -> None:
    first = candidate(OTHER, 0, 100, trace_id=1, span_id=1)
    second = candidate(OTHER, 150, 250, trace_id=1, span_id=2, parent_id=1)
    assert len(settle(first, second)) == 2


def test_an_inner_span_that_ends_after_the_outer_one_is_still_the_same_call() -> None:
    outer = candidate(LOGFIRE, 0, 10, (None, None), trace_id=1, span_id=1)
    inner = candidate(NATIVE, 1, 900, (166, 37), trace_id=1, parent_id=1)
    assert tokens(settle(outer, inner)) == [(166, 37)]


def test_an_alias_of_a_model_around_the_real_one_is_the_same_call() -> None:
    outer = candidate("litellm", 0, 100, trace_id=1, span_id=1, model="my-deployment")
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, model="gpt-4o-mini")
    assert len(settle(outer, inner)) == 1


def test_two_spans_of_one_scope_one_inside_the_other_with_the_same_counts_are_one_call() -> None:
    outer = candidate(OTHER, 0, 100, trace_id=1, span_id=1)
    inner = candidate(OTHER, 5, 95, trace_id=1, parent_id=1)
    assert len(settle(outer, inner)) == 1


# -- beside each other


def test_siblings_of_different_instrumentations_are_one_call() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, parent_id=7, layer=Layer.FRAMEWORK)
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=7, model="gpt-4o-mini-2024-07-18")
    assert scopes(settle(outer, inner)) == [CLIENT]


def test_spans_in_two_traces_are_one_call_where_one_has_no_parent() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, parent_id=7)
    assert len(settle(outer, candidate(CLIENT, 5, 95, trace_id=2))) == 1
    assert len(settle(outer, candidate(CLIENT, 5, 95, trace_id=2, parent_id=8))) == 2


def test_three_layers_of_one_call_are_one_call() -> None:
    layers = [
        candidate(FRAMEWORK, 0, 100, trace_id=1, layer=Layer.FRAMEWORK, response_id="chatcmpl-1"),
        candidate(CLIENT, 5, 95, trace_id=2, span_id=5, response_id="chatcmpl-1"),
        candidate(OTHER, 7, 94, trace_id=2, parent_id=5),
    ]
    assert len(settle(*layers)) == 1


def test_two_calls_of_one_instrumentation_are_two_however_alike() -> None:
    assert len(settle(candidate(CLIENT, 0, 100), candidate(CLIENT, 5, 95))) == 2
    assert len(settle(candidate(CLIENT, 0, 100), candidate(CLIENT, 0, 100))) == 2
    same_id = {"response_id": "chatcmpl-constant"}
    assert len(settle(candidate(CLIENT, 0, 100, **same_id), candidate(CLIENT, 200, 300, **same_id))) == 2


def test_spans_that_do_not_lie_inside_each_other_are_two_calls() -> None:
    assert len(settle(candidate(FRAMEWORK, 0, 100), candidate(CLIENT, 50, 150))) == 2


def test_a_span_that_begins_when_another_is_over_is_another_call_however_short_it_is() -> None:
    assert len(settle(candidate(CLIENT, 0, 100), candidate(OTHER, 103, 104))) == 2
    refused = candidate(OTHER, 103, 104, (None, None), model="my-deployment", parent_id=1, outcome=RATE_LIMITED)
    assert len(settle(candidate(INSTRUMENTATION_SCOPE, 0, 100, (None, None)), refused)) == 2


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
    spans = candidate(FRAMEWORK, 0, 100, **one), candidate(CLIENT, 5, 95, **other)  # type: ignore[arg-type]  # a table
    assert len(settle(*spans)) == 2


def test_a_name_of_a_deployment_contradicts_no_model_where_the_spans_start_and_end_together() -> None:
    deployment = {"model": "my-deployment", "tokens": (None, None)}
    uncounted = {"tokens": (None, None)}
    outer, inner = candidate(FRAMEWORK, 0, 100, **deployment), candidate(CLIENT, 5, 95, **uncounted)  # type: ignore[arg-type]  # a table
    assert len(settle(outer, inner)) == 1
    later = candidate(CLIENT, 350, 950, **uncounted)  # type: ignore[arg-type]  # a table
    assert len(settle(candidate(FRAMEWORK, 0, 1000, **deployment), later)) == 2  # type: ignore[arg-type]  # a table


def test_an_id_that_a_framework_made_up_contradicts_nothing() -> None:
    spans = candidate(FRAMEWORK, 0, 100, response_id="run--77"), candidate(CLIENT, 5, 95, response_id="chatcmpl-1")
    assert len(settle(*spans)) == 1


def test_failures_of_one_call_are_one_and_take_no_answered_call_with_them() -> None:
    failed = {"tokens": (None, None), "outcome": FAILED}
    assert len(settle(candidate(FRAMEWORK, 0, 100, **failed), candidate(CLIENT, 5, 95, **failed))) == 1  # type: ignore[arg-type]  # a table


def test_a_framework_that_tries_again_repeats_its_last_attempt_alone() -> None:
    first = candidate(CLIENT, 5, 40, (None, None), trace_id=1, parent_id=1, outcome=RATE_LIMITED)
    second = candidate(CLIENT, 50, 95, trace_id=1, parent_id=1)
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1)
    calls = settle(first, second, outer)
    assert [call.outcome.success for call in calls] == [False, True]
    apart = settle(first._replace(parent_id=0), second._replace(parent_id=0), outer._replace(trace_id=3))
    assert len(apart) == 2


def test_a_failure_passed_on_late_in_a_trace_of_its_own_is_one_with_the_call_that_failed_so() -> None:
    client = candidate(CLIENT, 15, 23, (None, None), outcome=RATE_LIMITED)
    wrapper = candidate("litellm", 0, 1490, (None, None), outcome=RATE_LIMITED)
    assert len(settle(client, wrapper)) == 1
    assert len(settle(client, wrapper._replace(outcome=FAILED))) == 2
    attempts = [candidate(CLIENT, at, at + 8, (None, None), outcome=RATE_LIMITED) for at in (15, 700, 1480)]
    assert len(settle(*attempts, wrapper)) == 3


def test_separate_attempts_stay_separate() -> None:
    attempts = [
        candidate("ai", at, at + 9, (None, None), trace_id=1, parent_id=1, outcome=RATE_LIMITED) for at in (0, 20)
    ]
    assert len(settle(*attempts)) == 2


# -- what the one call says


def test_what_only_the_outer_span_knows_is_taken_over() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, host="x.openai.azure.com", layer=Layer.FRAMEWORK)
    inner = candidate(CLIENT, 5, 95, (None, None), trace_id=1, parent_id=1, response_id="chatcmpl-1")
    (call,) = settle(outer, inner)
    assert tokens([call]) == [(111, 37)]
    assert (call.scope, call.parsed.span_fields.host) == (CLIENT, "x.openai.azure.com")


def test_details_are_taken_over_only_from_who_counts_the_same() -> None:
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1)
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, usage={"cache_read_tokens": 40})
    (call,) = settle(outer, inner)
    assert call.parsed.usage.cache_read_tokens == 40
    differs = candidate(FRAMEWORK, 0, 100, (71, 37), trace_id=1, span_id=1, usage={"cache_read_tokens": 40})
    (call,) = settle(differs, inner)
    assert call.parsed.usage.cache_read_tokens is None


def test_numbers_that_can_be_trusted_win_over_those_of_the_innermost_span() -> None:
    outer = candidate(CLIENT, 0, 100, (166, 37), trace_id=1, span_id=1, rank=0)
    inner = candidate("openlit", 5, 95, (40, 15), trace_id=1, parent_id=1, rank=2)
    assert tokens(settle(outer, inner)) == [(166, 37)]


def test_the_provider_that_somebody_knows_better_than_openai_is_kept() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, provider="azure")
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, provider="openai")
    (call,) = settle(outer, inner)
    assert call.parsed.span_fields.provider == "azure"


def test_attribution_noted_by_any_span_of_the_call_is_kept_innermost_first() -> None:
    outer = candidate(FRAMEWORK, 0, 100, trace_id=1, span_id=1, attribution=ACME._replace(session_id="outer"))
    inner = candidate(CLIENT, 5, 95, trace_id=1, parent_id=1, attribution=Attribution(session_id="inner"))
    (call,) = settle(outer, inner)
    assert call.attribution == ACME._replace(session_id="inner")


def test_a_stream_that_broke_off_is_a_failure_where_only_the_outer_span_saw_it() -> None:
    broken = Outcome(success=False, error_type="server_error", error_code=None)
    outer = candidate(CLIENT, 0, 100, (None, None), trace_id=1, span_id=1, outcome=broken)
    inner = candidate(OTHER, 5, 95, (None, None), trace_id=1, parent_id=1)
    (call,) = settle(outer, inner)
    assert call.outcome == broken


# -- our own instrumentation


def test_our_own_spans_are_never_held() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(INSTRUMENTATION_SCOPE, 0, 100), now_s=0)
    assert len(deduplicator.due(0)) == 1
    assert deduplicator.next_due_s is None


@pytest.mark.parametrize("ours_is_inner", [True, False])
def test_our_own_span_is_the_call_whichever_way_round(ours_is_inner: bool) -> None:
    outer, inner = (OTHER, INSTRUMENTATION_SCOPE) if ours_is_inner else (INSTRUMENTATION_SCOPE, OTHER)
    spans = candidate(outer, 0, 100, trace_id=1, span_id=1), candidate(inner, 5, 95, trace_id=1, parent_id=1)
    assert scopes(settle(*spans)) == [INSTRUMENTATION_SCOPE]


def test_our_own_call_is_known_to_the_first_span_of_another_instrumentation() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(INSTRUMENTATION_SCOPE, 5, 95, trace_id=1, parent_id=1), now_s=0.1)
    deduplicator.add(candidate(FRAMEWORK, 0, 100, trace_id=2), now_s=0.1)
    assert scopes(deduplicator.close()) == [INSTRUMENTATION_SCOPE]


def test_our_own_call_takes_no_counts_of_others() -> None:
    spans = (
        candidate(FRAMEWORK, 0, 100, (40, 15), trace_id=1, span_id=1, attribution=ACME),
        candidate(INSTRUMENTATION_SCOPE, 5, 95, (None, None), trace_id=1, parent_id=1),
    )
    first = candidate(FRAMEWORK, -900, -800, (1, 1))
    calls = settle(first, *spans)
    assert tokens([call for call in calls if call.scope == INSTRUMENTATION_SCOPE]) == [(None, None)]


# -- time and memory


def test_an_event_is_held_for_a_second_and_no_longer() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, 0, 100), now_s=10)
    assert deduplicator.next_due_s == 10 + HOLD_S <= 12
    assert deduplicator.due(10 + HOLD_S - 0.01) == []
    assert len(deduplicator.due(10 + HOLD_S)) == 1
    assert deduplicator.next_due_s is None


def test_a_flush_gives_all_that_is_held_and_what_comes_later_is_still_known() -> None:
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


def test_each_call_is_given_once_whatever_is_asked_for_and_when() -> None:
    deduplicator = Deduplicator()
    given: list[Candidate] = []
    for at, later in pairwise(range(0, 5000, 100)):
        deduplicator.add(candidate(CLIENT, at, later), at / 1000)
        given += deduplicator.due(later / 1000)
        if at % 700 == 0:
            given += deduplicator.flush()
    given += deduplicator.close() + deduplicator.close() + deduplicator.flush()
    assert len(given) == len({call.span_id for call in given}) == 49


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("models/gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_models_are_compared_without_provider_and_date(name: str, plain: str) -> None:
    assert plain_model(name) == plain


def test_two_spans_of_one_call_are_united_by_the_span_between_them_that_ends_last() -> None:
    outer = candidate(OTHER, 0, 10, (None, None), trace_id=1, span_id=1)
    inner = candidate(INSTRUMENTATION_SCOPE, 2, 90, trace_id=1, span_id=3, parent_id=2, response_id="msg_1")
    between = candidate(CLIENT, 1, 91, trace_id=1, span_id=2, parent_id=1, response_id="msg_1")
    assert scopes(settle(outer, inner, between)) == [INSTRUMENTATION_SCOPE]
    other_inner = inner._replace(scope=NATIVE)
    assert scopes(settle(outer, other_inner, between)) == [NATIVE]
