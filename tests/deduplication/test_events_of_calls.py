"""A call with an event of our exporter and spans of other services counts once; two calls are never one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.candidates import candidate

from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.schema.wire import SCOPE_NAME

TRACE = 0xABC
EVENT_SPAN = 0x11
GATEWAY = "litellm"
FAILED = Outcome(success=False, error_type="rate_limit", error_code="429")


def of_event(start_ms: float = 0, end_ms: float = 1200, **changes: Any) -> Candidate:
    return candidate(
        SCOPE_NAME, start_ms, end_ms, **{"trace_id": TRACE, "span_id": EVENT_SPAN, "parent_id": -1, **changes}
    )


def of_gateway(start_ms: float = 10, end_ms: float = 1000, **changes: Any) -> Candidate:
    return candidate(GATEWAY, start_ms, end_ms, **{"trace_id": TRACE, "parent_id": EVENT_SPAN, **changes})


def calls(*spans: Candidate) -> int:
    """The number of calls that are counted, of spans and events in the order in which they arrive."""
    deduplicator, counted, now_s = Deduplicator(), 0, 0.0
    for each in spans:
        if each.scope == SCOPE_NAME:
            counted += deduplicator.add_event(each)
        else:
            deduplicator.add(each, now_s)
        now_s += 10
        counted += len(deduplicator.due(now_s))
    return counted + len(deduplicator.close())


SAME_CALL = {
    "child": of_gateway(),
    "other counts, child": of_gateway(tokens=(120, 37)),
    "no counts, child": of_gateway(tokens=(None, None)),
    "spans between": of_gateway(parent_id=0x99),
    "alias, spans between": of_gateway(parent_id=0x99, model="my-deployment"),
    "trace of its own": of_gateway(trace_id=0xDEF, parent_id=0, end_ms=1180),
}
OTHER_CALL = {
    "later": of_gateway(2000, 3000, parent_id=0x99),
    "other counts": of_gateway(parent_id=0x99, tokens=(120, 37)),
    "unknown counts": of_gateway(parent_id=0x99, tokens=(None, None)),
    "other model": of_gateway(parent_id=0x99, model="gpt-4o"),
    "other model, child": of_gateway(model="gpt-4.1", tokens=(120, 37)),
    "other operation": of_gateway(parent_id=0x99, operation="embeddings"),
    "other trace, not its root": of_gateway(trace_id=0xDEF, parent_id=0x99, end_ms=1180),
    "other trace, much shorter": of_gateway(trace_id=0xDEF, parent_id=0, end_ms=400),
    "other trace, alias": of_gateway(trace_id=0xDEF, parent_id=0, end_ms=1180, model="my-deployment"),
    "other trace, no counts": of_gateway(trace_id=0xDEF, parent_id=0, end_ms=1180, tokens=(None, None)),
}


@pytest.mark.parametrize("span", SAME_CALL.values(), ids=list(SAME_CALL))
@pytest.mark.parametrize("event_first", [True, False])
def test_an_event_and_a_span_of_the_same_call_count_once(span: Candidate, event_first: bool) -> None:
    assert calls(*((of_event(), span) if event_first else (span, of_event()))) == 1


@pytest.mark.parametrize("span", OTHER_CALL.values(), ids=list(OTHER_CALL))
@pytest.mark.parametrize("event_first", [True, False])
def test_an_event_and_a_span_of_another_call_are_two(span: Candidate, event_first: bool) -> None:
    assert calls(*((of_event(), span) if event_first else (span, of_event()))) == 2


def test_an_event_that_arrives_while_the_span_is_held_counts_instead_of_it() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(of_gateway(), 0.0)
    assert deduplicator.add_event(of_event())
    assert deduplicator.close() == []


def test_an_event_that_arrives_after_the_span_was_released_does_not_count() -> None:
    deduplicator = Deduplicator()
    deduplicator.add(of_gateway(), 0.0)
    assert len(deduplicator.due(2.0)) == 1
    assert not deduplicator.add_event(of_event())


def test_two_events_are_always_two_calls() -> None:
    assert calls(of_event(), of_event(span_id=0x12)) == 2


def test_equal_concurrent_calls_with_an_event_and_a_span_each_are_two() -> None:
    first, second = of_event(0, 1200), of_event(5, 1205, span_id=0x12)
    spans = of_gateway(20, 1100, parent_id=0x98), of_gateway(25, 1105, parent_id=0x99)
    assert calls(first, second, *spans) == 2
    assert calls(*spans, second, first) == 2
    assert calls(first, *spans, second) == 2


def test_two_equal_spans_within_one_event_are_two_calls() -> None:
    assert calls(of_event(), of_gateway(10, 500), of_gateway(600, 1100)) == 2


def test_the_same_failure_counts_once() -> None:
    failed = of_event(tokens=(None, None), outcome=FAILED)
    assert calls(failed, of_gateway(tokens=(None, None), outcome=FAILED, parent_id=0x99)) == 1


def test_a_failed_attempt_of_the_gateway_is_a_call_of_its_own() -> None:
    failed = of_gateway(10, 200, tokens=(None, None), outcome=FAILED)
    assert calls(failed, of_gateway(210, 1100), of_event()) == 2


# -- one instrumentation in two services


def of_service(start_ms: float, end_ms: float, **changes: Any) -> Candidate:
    return candidate("service", start_ms, end_ms, **{"trace_id": TRACE, "response_id": "chatcmpl-1", **changes})


@pytest.mark.parametrize("outer_first", [True, False])
def test_one_instrumentation_in_two_services_counts_a_response_once(outer_first: bool) -> None:
    outer, inner = of_service(0, 1200, parent_id=1), of_service(10, 1000, parent_id=2)
    assert calls(*((outer, inner) if outer_first else (inner, outer))) == 1


@pytest.mark.parametrize(
    "inner",
    [
        of_service(10, 1000, parent_id=2, response_id="chatcmpl-2"),
        of_service(10, 1000, parent_id=2, tokens=(112, 37)),
        of_service(2000, 3000, parent_id=2),
        of_service(10, 1000, parent_id=1),
        of_service(10, 1000, parent_id=2, trace_id=0xDEF),
    ],
    ids=["other id", "other counts", "later", "same parent", "other trace"],
)
def test_two_calls_of_one_instrumentation_are_two(inner: Candidate) -> None:
    assert calls(of_service(0, 1200, parent_id=1), inner) == 2
