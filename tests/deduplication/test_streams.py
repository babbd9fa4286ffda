"""A stream that is reported in two parts, when its headers are there and when it is over, is one call."""

from __future__ import annotations

import pytest
from tests.kit.candidates import EPOCH_NS, candidate, settle

from infraprism.attribution.scope import NOTHING, Attribution
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.deduplication.deduplicator import LONE_STREAM_HOLD_S, STREAM_HOLD_S, Deduplicator
from infraprism.dialects.table import Layer

CLIENT = "opentelemetry.instrumentation.genai.openai"
FRAMEWORK = "opentelemetry.instrumentation.langchain"
LOGFIRE = "logfire.openai"


def tokens(calls: list[Candidate]) -> list[tuple[int | None, int | None]]:
    return sorted(((c.parsed.usage.input_tokens, c.parsed.usage.output_tokens) for c in calls), key=str)


def unread(start: float, end: float, scope: str = FRAMEWORK) -> Candidate:
    """What is ended with the headers of a stream, by an instrumentation that then sees no chunk of it."""
    return candidate(scope, start, end, (None, None), streamed=True)


def opening(start: float, end: float) -> Candidate:
    return candidate(LOGFIRE, start, end, (None, None))


def ending(start: float, end: float, counts: tuple[int, int] = (111, 37)) -> Candidate:
    return candidate(LOGFIRE, start, end, counts, is_stream_end=True)


def test_a_stream_in_two_parts_is_one_call_from_the_first_to_the_last() -> None:
    (call,) = settle(opening(0, 4), ending(5, 30_000))
    assert tokens([call]) == [(111, 37)]
    assert (call.start_ns, call.end_ns) == (EPOCH_NS, EPOCH_NS + 30_000_000_000)


def test_streams_in_two_parts_at_once_stay_apart() -> None:
    parts = [part for at in range(5) for part in (opening(at, at + 4), ending(at + 5, 3000 + at, (100 + at, 37)))]
    assert tokens(settle(*parts)) == [(100 + at, 37) for at in range(5)]


@pytest.mark.parametrize("mine", [Attribution("customer", "acme", "s-1", (("a", "b"),)), NOTHING])
def test_a_stream_in_two_parts_is_for_whom_it_began_whatever_holds_where_it_ends(mine: Attribution) -> None:
    others = Attribution("customer", "globex", "s-2", (("c", "d"),))
    begun = opening(0, 4)._replace(attribution=mine)
    (call,) = settle(begun, ending(5, 900)._replace(attribution=others))
    assert call.attribution == begun.attribution


def test_a_stream_in_two_parts_under_another_instrumentation_is_one_call() -> None:
    assert len(settle(candidate(FRAMEWORK, 0, 100), opening(2, 6), ending(7, 99))) == 1


@pytest.mark.parametrize("client_id", ["chatcmpl-1", None])
def test_a_long_stream_in_two_parts_is_one_call_beside_the_spans_of_others(client_id: str | None) -> None:
    around = candidate(FRAMEWORK, 0, 9_000, trace_id=1, parent_id=7, layer=Layer.FRAMEWORK)
    client = candidate(CLIENT, 3, 8_990, response_id=client_id)
    (call,) = settle(around, client, opening(2, 400), ending(401, 8_995))
    assert tokens([call]) == [(111, 37)]
    assert (call.scope, call.start_ns, call.end_ns) == (CLIENT, client.start_ns, client.end_ns)


def test_streams_in_two_parts_at_once_are_told_by_the_span_that_they_are_in() -> None:
    first, second = {"trace_id": 1, "parent_id": 1}, {"trace_id": 1, "parent_id": 2}
    parts = [
        opening(0, 4)._replace(**first),
        opening(1, 5)._replace(**second),
        ending(6, 3000)._replace(**second),
        ending(6, 5000)._replace(**first),
    ]
    assert sorted(call.end_ns - call.start_ns for call in settle(*parts)) == [2_999_000_000, 5_000_000_000]


def test_the_beginning_of_a_stream_that_nobody_ended_is_no_second_call_beside_one_that_had_it_all() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(opening(2, 6), now_s=0)
    deduplicator.add(candidate(FRAMEWORK, 0, 5_000), now_s=5)
    assert len(deduplicator.due(7)) == 1
    assert deduplicator.due(STREAM_HOLD_S + 1) == deduplicator.close() == []


def test_a_stream_that_was_never_read_is_one_call_without_counts() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(opening(0, 4), now_s=0)
    assert deduplicator.flush() == []
    assert deduplicator.due(STREAM_HOLD_S - 1) == []
    assert tokens(deduplicator.due(STREAM_HOLD_S + 1)) == [(None, None)]


@pytest.mark.parametrize("late", [False, True])
def test_a_span_that_saw_no_chunk_of_a_stream_is_no_second_call_however_long_the_stream_lasts(late: bool) -> None:
    deduplicator = Deduplicator()
    whole = candidate(CLIENT, 20, 60_000)  # begun later than it can be on a machine with time for both
    spans = [(unread(0, 210), 0.3), (whole, 60.1)]
    calls = []
    for span, now_s in reversed(spans) if late else spans:
        deduplicator.add(span, now_s)
        calls += deduplicator.due(now_s)
    calls += deduplicator.due(62) + deduplicator.flush() + deduplicator.due(STREAM_HOLD_S + 100) + deduplicator.close()
    assert tokens(calls) == [(111, 37)]


def test_streams_at_once_of_which_one_instrumentation_saw_no_chunk_are_each_one_call() -> None:
    spans = [span for at in range(6) for span in (unread(at, at + 200), candidate(CLIENT, at + 4, 5_000 + at))]
    assert len(settle(*spans)) == 6


def test_a_stream_of_which_nobody_else_says_anything_is_given_back_when_asked_for() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(unread(0, 4), now_s=0)
    assert deduplicator.due(5) == []
    assert tokens(deduplicator.flush()) == [(None, None)]
    assert deduplicator.close() == []


def test_a_stream_of_which_nobody_else_says_anything_is_given_back_by_itself_before_long() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(unread(0, 4), now_s=0)
    assert deduplicator.next_due_s == LONE_STREAM_HOLD_S
    assert deduplicator.due(LONE_STREAM_HOLD_S - 1) == []
    assert tokens(deduplicator.due(LONE_STREAM_HOLD_S)) == [(None, None)]
    assert deduplicator.next_due_s is None
    assert deduplicator.close() == []


def test_a_stream_that_another_instrumentation_may_still_read_is_waited_for() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, -9_000, -8_000), now_s=0)
    deduplicator.add(unread(0, 4), now_s=0)
    assert tokens(deduplicator.flush()) == [(111, 37)]
    assert deduplicator.due(LONE_STREAM_HOLD_S + 1) == []
    deduplicator.add(candidate(CLIENT, 1, 5_000), now_s=LONE_STREAM_HOLD_S + 2)
    assert tokens(deduplicator.flush() + deduplicator.close()) == [(111, 37)]


def lazy(start: float, first_chunk: float, counts: tuple[int | None, int | None] = (111, 37)) -> Candidate:
    """What a framework says of a generator that it handed on unread: nothing of it is known after the first chunk."""
    first_ms = int(first_chunk - start)
    return candidate(
        FRAMEWORK, start, first_chunk, counts, time_to_first_token_ms=first_ms, layer=Layer.FRAMEWORK, rank=1
    )


def given_at_once(*spans: Candidate) -> list[Candidate]:
    """The calls that these are, in the order in which they are given: the framework's come when the stream is over."""
    deduplicator = Deduplicator()
    for span in spans:
        deduplicator.add(span, now_s=61)
    return deduplicator.close()


@pytest.mark.parametrize("counts", [(111, 37), (None, None)])
@pytest.mark.parametrize("late", [False, True])
def test_a_stream_known_up_to_its_first_chunk_is_one_call_with_the_client_that_read_it(
    counts: tuple[int | None, int | None], late: bool
) -> None:
    spans = [candidate(CLIENT, 800, 60_000, counts, time_to_first_token_ms=95), lazy(0, 900, counts)]
    (call,) = given_at_once(*(reversed(spans) if late else spans))
    assert tokens([call]) == [counts]
    assert call.scope == CLIENT


def test_streams_at_once_known_up_to_their_first_chunk_are_each_the_client_that_read_it() -> None:
    ids = [f"chatcmpl-{at}" for at in range(6)]
    read = [
        candidate(CLIENT, 800 + 10 * at, 5_000 - at, response_id=ids[at], time_to_first_token_ms=98) for at in range(6)
    ]
    calls = given_at_once(*read, *(lazy(at, 900 + 10 * at) for at in range(6)))
    assert sorted(str(call.parsed.span_fields.response_id) for call in calls) == ids


def test_a_call_that_began_after_a_streams_first_chunk_is_another() -> None:
    assert len(given_at_once(candidate(CLIENT, 950, 2_000), lazy(0, 900))) == 2


def test_of_two_clients_the_one_whose_first_chunk_came_at_that_very_moment_read_the_stream() -> None:
    released: list[set[tuple[str, str | None]]] = []
    deduplicator = Deduplicator(
        on_release=lambda spans: released.append({(each.scope, each.parsed.span_fields.response_id) for each in spans})
    )
    for response_id, first_chunk in (("near", 105), ("exact", 100)):
        span = candidate(CLIENT, 800, 5_000, response_id=response_id, time_to_first_token_ms=first_chunk)
        deduplicator.add(span, now_s=61)
    deduplicator.add(lazy(0, 900), now_s=61)
    deduplicator.close()
    assert {(CLIENT, "exact"), (FRAMEWORK, None)} in released


def test_a_stream_that_was_left_is_one_call_where_the_framework_around_it_says_that_it_failed() -> None:
    """LangChain's, with Langfuse: of the client's span the model that answered, of the other what was asked for."""
    failed = Outcome(success=False, error_type="other")
    client = candidate("langfuse-sdk", 1, 8, (None, None), trace_id=1, span_id=2, parent_id=1, model="gpt-4o-mini")
    around = candidate(
        "langfuse.langchain", 0, 12, (None, None), trace_id=1, span_id=1, model="my-deployment", outcome=failed
    )
    assert [call.span_id for call in settle(client, around)] == [2]
    guard = candidate("langfuse-sdk", 1, 8, (5, 1), trace_id=1, span_id=2, parent_id=1, model="gpt-4o-mini")
    assert len(settle(guard, around)) == 2
