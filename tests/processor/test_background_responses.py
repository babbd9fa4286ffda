"""The creation and the result of a background response are one call, whichever span comes first."""

from __future__ import annotations

from typing import Any

from tests.kit.candidates import candidate

from infraprism.attribution.scope import Attribution
from infraprism.deduplication.candidate import Candidate
from infraprism.processor.background_responses import HOLD_S, MAX_RESPONSES, BackgroundResponses
from infraprism.schema.call_context import (
    BACKGROUND_PENDING,
    BACKGROUND_RESULT,
    BACKGROUND_STATE,
    COMPLETED_AT,
    CREATED_AT,
    INSTRUMENTATION_SCOPE,
)

ACME = Attribution("customer", "acme", None, ())
PENDING = {BACKGROUND_STATE: BACKGROUND_PENDING}
RESULT = {BACKGROUND_STATE: BACKGROUND_RESULT, CREATED_AT: "1790000000", COMPLETED_AT: "1790000060"}


def created(response_id: str = "resp_1", **changes: Any) -> Candidate:
    return candidate(
        INSTRUMENTATION_SCOPE, 0, 100, (None, None), **{"response_id": response_id, "attribution": ACME, **changes}
    )


def result(response_id: str = "resp_1") -> Candidate:
    return candidate(INSTRUMENTATION_SCOPE, 90_000, 90_100, response_id=response_id)


def test_a_creation_is_held_and_its_result_has_its_attribution() -> None:
    responses = BackgroundResponses()
    assert responses.add(created(), PENDING, 0.0) == []
    (call,) = responses.add(result(), RESULT, 90.0)
    assert call.parsed.usage.input_tokens == 111
    assert call.attribution == ACME
    assert responses.close() == []


def test_the_latency_is_that_of_the_provider() -> None:
    responses = BackgroundResponses()
    responses.add(created(), PENDING, 0.0)
    (call,) = responses.add(result(), RESULT, 90.0)
    assert call.end_ns - call.start_ns == 60 * 10**9


def test_without_times_of_the_provider_the_latency_is_the_time_until_the_result() -> None:
    responses = BackgroundResponses()
    responses.add(created(), PENDING, 0.0)
    (call,) = responses.add(result(), {BACKGROUND_STATE: BACKGROUND_RESULT, CREATED_AT: "1"}, 90.0)
    assert call.end_ns - call.start_ns == 90_100 * 10**6


def test_the_ids_follow_from_the_response() -> None:
    one, other = BackgroundResponses(), BackgroundResponses()
    one.add(created(), PENDING, 0.0)
    (first,), (second,) = one.add(result(), RESULT, 90.0), other.add(result(), RESULT, 0.0)
    assert (first.trace_id, first.span_id, first.start_ns) == (second.trace_id, second.span_id, second.start_ns)


def test_a_creation_that_arrives_after_its_result_is_no_second_call() -> None:
    responses = BackgroundResponses()
    assert len(responses.add(result(), RESULT, 0.0)) == 1
    assert responses.add(created(), PENDING, 1.0) == []
    assert responses.close() == []


def test_a_creation_without_result_is_released_after_an_hour() -> None:
    responses = BackgroundResponses()
    found = created()
    responses.add(found, PENDING, 0.0)
    assert responses.next_due_s == HOLD_S
    assert responses.due(HOLD_S - 1) == []
    assert responses.due(HOLD_S) == [found]
    assert responses.next_due_s is None


def test_the_number_of_held_creations_is_bounded() -> None:
    responses = BackgroundResponses()
    released = [
        each for number in range(MAX_RESPONSES + 3) for each in responses.add(created(f"r{number}"), PENDING, 0)
    ]
    assert [each.parsed.span_fields.response_id for each in released] == ["r0", "r1", "r2"]


def test_a_span_without_usage_of_another_instrumentation_is_held_with_the_creation() -> None:
    responses = BackgroundResponses()
    responses.add(created(), PENDING, 0.0)
    other = candidate("other", 0, 110, (None, None), response_id="resp_1")
    assert responses.add(other, {}, 0.0) == []
    call, last = responses.add(result(), RESULT, 90.0)
    assert call.parsed.usage.input_tokens == 111
    assert last is other


def test_other_calls_pass_unchanged() -> None:
    responses = BackgroundResponses()
    responses.add(created(), PENDING, 0.0)
    for other in (candidate("other", 0, 1), candidate(INSTRUMENTATION_SCOPE, 0, 1, response_id="resp_2")):
        assert responses.add(other, {}, 0.0) == [other]
