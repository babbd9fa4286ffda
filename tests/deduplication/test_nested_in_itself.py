"""Spans that one instrumentation makes around its own: a call of its own, or one that it reports again."""

from __future__ import annotations

from tests.kit.candidates import RATE_LIMITED, candidate, settle


def test_a_failure_that_one_instrumentation_reports_around_itself_is_one_however_late_it_is_passed_on() -> None:
    outer = candidate("agentops", 0, 30, (None, None), span_id=1, trace_id=1, outcome=RATE_LIMITED)
    inner = candidate("agentops", 0.2, 12, (None, None), span_id=2, parent_id=1, trace_id=1, outcome=RATE_LIMITED)
    assert len(settle(outer, inner)) == 1


def test_a_call_that_fails_because_one_failed_while_it_was_read_is_a_call() -> None:
    outer = candidate("agentops", 0, 900, (None, None), span_id=1, trace_id=1, outcome=RATE_LIMITED)
    inner = candidate("agentops", 400, 880, (None, None), span_id=2, parent_id=1, trace_id=1, outcome=RATE_LIMITED)
    assert len(settle(outer, inner)) == 2


def test_an_agent_of_the_same_scope_that_names_no_operation_repeats_the_call_that_it_counts() -> None:
    inner = candidate("app", 300, 400, trace_id=1, span_id=2, parent_id=1)
    outer = candidate("app", 0, 900, trace_id=1, span_id=1, operation="other")
    assert settle(inner, outer) == [inner]
    assert len(settle(inner, candidate("app", 0, 900, (50, 20), trace_id=1, span_id=1, operation="other"))) == 2


def test_a_note_of_a_call_written_when_it_was_over_is_that_call() -> None:
    client = candidate("openai", 0, 800, trace_id=1, span_id=2, parent_id=1)
    note = candidate("ag2", 930, 930.2, trace_id=1, span_id=3, parent_id=1)
    assert settle(client, note) == [client]
    assert len(settle(client, note._replace(start_ns=note.start_ns - 400_000_000))) == 2
    assert len(settle(client, note._replace(trace_id=9))) == 2
    assert len(settle(client, candidate("ag2", 930, 930.2, (111, 38), trace_id=1, span_id=3, parent_id=1))) == 2
    two = candidate("openai", 100, 900, trace_id=1, span_id=4, parent_id=1)
    assert len(settle(client, two, note, note._replace(span_id=5, start_ns=note.start_ns + 1000))) == 2
