"""Streams: reported in two spans, at their headers and at their end, or only up to their first chunk."""

from __future__ import annotations

import pytest
from tests.kit.candidates import EPOCH_NS, RATE_LIMITED, candidate, deduplicate

from infraprism.attribution.scope import NOTHING, Attribution
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.deduplication.deduplicator import HOLD_S, LONE_STREAM_HOLD_S, STREAM_HOLD_S, Deduplicator
from infraprism.dialects.table import Layer

CLIENT = "opentelemetry.instrumentation.genai.openai"
FRAMEWORK = "opentelemetry.instrumentation.langchain"
LOGFIRE = "logfire.openai"


def tokens(calls: list[Candidate]) -> list[tuple[int | None, int | None]]:
    return sorted(((c.parsed.usage.input_tokens, c.parsed.usage.output_tokens) for c in calls), key=str)


def without_chunks(start: float, end: float, scope: str = FRAMEWORK) -> Candidate:
    """A span that ended with the headers of a stream; its instrumentation saw no chunk."""
    return candidate(scope, start, end, (None, None), streamed=True)


def stream_start(start: float, end: float) -> Candidate:
    return candidate(LOGFIRE, start, end, (None, None))


def stream_end(start: float, end: float, counts: tuple[int, int] = (111, 37)) -> Candidate:
    return candidate(LOGFIRE, start, end, counts, is_stream_end=True)


def test_a_stream_in_two_spans_is_one_call_from_the_start_of_the_first_to_the_end_of_the_second() -> None:
    (call,) = deduplicate(stream_start(0, 4), stream_end(5, 30_000))
    assert tokens([call]) == [(111, 37)]
    assert (call.start_ns, call.end_ns) == (EPOCH_NS, EPOCH_NS + 30_000_000_000)


def test_concurrent_streams_in_two_spans_are_separate_calls() -> None:
    parts = [
        part for at in range(5) for part in (stream_start(at, at + 4), stream_end(at + 5, 3000 + at, (100 + at, 37)))
    ]
    assert tokens(deduplicate(*parts)) == [(100 + at, 37) for at in range(5)]


@pytest.mark.parametrize("at_start", [Attribution("customer", "acme", "s-1", (("a", "b"),)), NOTHING])
def test_a_stream_in_two_spans_has_the_attribution_of_its_start(at_start: Attribution) -> None:
    at_end = Attribution("customer", "globex", "s-2", (("c", "d"),))
    begun = stream_start(0, 4)._replace(attribution=at_start)
    (call,) = deduplicate(begun, stream_end(5, 900)._replace(attribution=at_end))
    assert call.attribution == begun.attribution


def test_a_stream_in_two_spans_within_the_span_of_another_instrumentation_is_one_call() -> None:
    assert len(deduplicate(candidate(FRAMEWORK, 0, 100), stream_start(2, 6), stream_end(7, 99))) == 1


@pytest.mark.parametrize("client_id", ["chatcmpl-1", None])
def test_a_long_stream_in_two_spans_is_one_call_with_the_spans_of_others(client_id: str | None) -> None:
    outer = candidate(FRAMEWORK, 0, 9_000, trace_id=1, parent_id=7, layer=Layer.FRAMEWORK)
    client = candidate(CLIENT, 3, 8_990, response_id=client_id)
    (call,) = deduplicate(outer, client, stream_start(2, 400), stream_end(401, 8_995))
    assert tokens([call]) == [(111, 37)]
    assert (call.scope, call.start_ns, call.end_ns) == (CLIENT, client.start_ns, client.end_ns)


def test_concurrent_streams_in_two_spans_are_matched_by_their_parent() -> None:
    first, second = {"trace_id": 1, "parent_id": 1}, {"trace_id": 1, "parent_id": 2}
    parts = [
        stream_start(0, 4)._replace(**first),
        stream_start(1, 5)._replace(**second),
        stream_end(6, 3000)._replace(**second),
        stream_end(6, 5000)._replace(**first),
    ]
    assert sorted(call.end_ns - call.start_ns for call in deduplicate(*parts)) == [2_999_000_000, 5_000_000_000]


def test_the_start_of_a_stream_without_an_end_is_no_second_call_if_another_span_reports_the_stream() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(stream_start(2, 6), now_s=0)
    deduplicator.add(candidate(FRAMEWORK, 0, 5_000), now_s=5)
    assert len(deduplicator.due(7)) == 1
    assert deduplicator.due(STREAM_HOLD_S + 1) == deduplicator.close() == []


def test_a_stream_without_an_end_is_one_call_without_counts() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(stream_start(0, 4), now_s=0)
    assert deduplicator.flush() == []
    assert deduplicator.due(STREAM_HOLD_S - 1) == []
    assert tokens(deduplicator.due(STREAM_HOLD_S + 1)) == [(None, None)]


@pytest.mark.parametrize("late", [False, True])
def test_a_span_without_chunks_is_no_second_call_however_long_the_stream_lasts(late: bool) -> None:
    deduplicator = Deduplicator()
    client = candidate(CLIENT, 20, 60_000)  # starts as late as on an overloaded machine
    spans = [(without_chunks(0, 210), 0.3), (client, 60.1)]
    calls = []
    for span, now_s in reversed(spans) if late else spans:
        deduplicator.add(span, now_s)
        calls += deduplicator.due(now_s)
    calls += deduplicator.due(62) + deduplicator.flush() + deduplicator.due(STREAM_HOLD_S + 100) + deduplicator.close()
    assert tokens(calls) == [(111, 37)]


def test_concurrent_streams_of_which_one_instrumentation_saw_no_chunk_are_one_call_each() -> None:
    spans = [span for at in range(6) for span in (without_chunks(at, at + 200), candidate(CLIENT, at + 4, 5_000 + at))]
    assert len(deduplicate(*spans)) == 6


def test_a_stream_that_no_other_instrumentation_reports_is_released_by_a_flush() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(without_chunks(0, 4), now_s=0)
    assert deduplicator.due(5) == []
    assert tokens(deduplicator.flush()) == [(None, None)]
    assert deduplicator.close() == []


def test_a_stream_that_no_other_instrumentation_reports_is_released_after_two_minutes() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(without_chunks(0, 4), now_s=0)
    assert deduplicator.next_due_s == LONE_STREAM_HOLD_S
    assert deduplicator.due(LONE_STREAM_HOLD_S - 1) == []
    assert tokens(deduplicator.due(LONE_STREAM_HOLD_S)) == [(None, None)]
    assert deduplicator.next_due_s is None
    assert deduplicator.close() == []


def test_the_start_of_a_stream_is_no_part_of_a_call_that_started_long_after() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(without_chunks(0, 4), now_s=0)
    deduplicator.add(candidate(CLIENT, 30_000, 31_000), now_s=31)
    assert tokens(deduplicator.flush() + deduplicator.close()) == [(111, 37), (None, None)]


@pytest.mark.parametrize(
    "span",
    [
        candidate(LOGFIRE, 0, 4, (None, None), outcome=RATE_LIMITED),
        candidate(LOGFIRE, 0, 4, (None, None), operation="embeddings"),
        candidate(LOGFIRE, 0, 4, (None, None), response_id="chatcmpl-1"),
    ],
    ids=["failed", "no stream", "complete"],
)
def test_a_span_that_is_not_the_start_of_a_stream_is_not_held_like_one(span: Candidate) -> None:
    deduplicator = Deduplicator()
    deduplicator.add(span, now_s=0)
    assert len(deduplicator.due(HOLD_S)) == 1


def test_a_stream_that_another_instrumentation_may_report_is_held() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(candidate(CLIENT, -9_000, -8_000), now_s=0)
    deduplicator.add(without_chunks(0, 4), now_s=0)
    assert tokens(deduplicator.flush()) == [(111, 37)]
    assert deduplicator.due(LONE_STREAM_HOLD_S + 1) == []
    deduplicator.add(candidate(CLIENT, 1, 5_000), now_s=LONE_STREAM_HOLD_S + 2)
    assert tokens(deduplicator.flush() + deduplicator.close()) == [(111, 37)]


def ended_at_first_chunk(
    start: float, first_chunk: float, counts: tuple[int | None, int | None] = (111, 37)
) -> Candidate:
    """The span of a framework (LlamaIndex) that returned a generator: it is extended to the first chunk."""
    first_ms = int(first_chunk - start)
    return candidate(
        FRAMEWORK, start, first_chunk, counts, time_to_first_token_ms=first_ms, layer=Layer.FRAMEWORK, rank=1
    )


def added_in_order(*spans: Candidate) -> list[Candidate]:
    """The calls that these spans report, all added when the streams have ended."""
    deduplicator = Deduplicator()
    for span in spans:
        deduplicator.add(span, now_s=61)
    return deduplicator.close()


@pytest.mark.parametrize("counts", [(111, 37), (None, None)])
@pytest.mark.parametrize("late", [False, True])
def test_a_span_that_ended_at_the_first_chunk_is_one_call_with_the_client_that_read_the_stream(
    counts: tuple[int | None, int | None], late: bool
) -> None:
    spans = [candidate(CLIENT, 800, 60_000, counts, time_to_first_token_ms=95), ended_at_first_chunk(0, 900, counts)]
    (call,) = added_in_order(*(reversed(spans) if late else spans))
    assert tokens([call]) == [counts]
    assert call.scope == CLIENT


def test_concurrent_spans_that_ended_at_their_first_chunk_are_one_call_each_with_their_client() -> None:
    ids = [f"chatcmpl-{at}" for at in range(6)]
    read = [
        candidate(CLIENT, 800 + 10 * at, 5_000 - at, response_id=ids[at], time_to_first_token_ms=98) for at in range(6)
    ]
    calls = added_in_order(*read, *(ended_at_first_chunk(at, 900 + 10 * at) for at in range(6)))
    assert sorted(str(call.parsed.span_fields.response_id) for call in calls) == ids


def test_a_call_that_started_after_the_first_chunk_is_another_call() -> None:
    assert len(added_in_order(candidate(CLIENT, 950, 2_000), ended_at_first_chunk(0, 900))) == 2


@pytest.mark.parametrize("first_chunks", [(("near", 105), ("exact", 100)), (("exact", 100), ("near", 105))])
def test_of_two_clients_the_one_with_the_first_chunk_at_the_same_time_read_the_stream(
    first_chunks: tuple[tuple[str, int], ...],
) -> None:
    released: list[set[tuple[str, str | None]]] = []
    deduplicator = Deduplicator(
        on_release=lambda spans: released.append({(each.scope, each.parsed.span_fields.response_id) for each in spans})
    )
    for response_id, first_chunk in first_chunks:
        span = candidate(CLIENT, 800, 5_000, response_id=response_id, time_to_first_token_ms=first_chunk)
        deduplicator.add(span, now_s=61)
    deduplicator.add(ended_at_first_chunk(0, 900), now_s=61)
    deduplicator.close()
    assert {(CLIENT, "exact"), (FRAMEWORK, None)} in released


def test_an_abandoned_stream_is_one_call_if_the_enclosing_span_of_the_framework_failed() -> None:
    """LangChain with Langfuse: the client's span has the response model, the other one the requested model."""
    failed = Outcome(success=False, error_type="other")
    client = candidate("langfuse-sdk", 1, 8, (None, None), trace_id=1, span_id=2, parent_id=1, model="gpt-4o-mini")
    outer = candidate(
        "langfuse.langchain", 0, 12, (None, None), trace_id=1, span_id=1, model="my-deployment", outcome=failed
    )
    assert [call.span_id for call in deduplicate(client, outer)] == [2]
    guard = candidate("langfuse-sdk", 1, 8, (5, 1), trace_id=1, span_id=2, parent_id=1, model="gpt-4o-mini")
    assert len(deduplicate(guard, outer)) == 2
