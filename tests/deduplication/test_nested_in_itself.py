"""Spans of one instrumentation nested in its own spans: another call, or the same call again."""

from __future__ import annotations

from tests.kit.candidates import RATE_LIMITED, candidate, deduplicate


def test_a_failure_reported_by_two_nested_spans_of_one_scope_is_one_call_however_late_the_outer_span_ends() -> None:
    outer = candidate("agentops", 0, 30, (None, None), span_id=1, trace_id=1, outcome=RATE_LIMITED)
    inner = candidate("agentops", 0.2, 12, (None, None), span_id=2, parent_id=1, trace_id=1, outcome=RATE_LIMITED)
    assert len(deduplicate(outer, inner)) == 1


def test_a_stream_that_fails_because_a_nested_call_failed_is_a_call_of_its_own() -> None:
    outer = candidate("agentops", 0, 900, (None, None), span_id=1, trace_id=1, outcome=RATE_LIMITED)
    inner = candidate("agentops", 400, 880, (None, None), span_id=2, parent_id=1, trace_id=1, outcome=RATE_LIMITED)
    assert len(deduplicate(outer, inner)) == 2


def test_an_agent_of_the_same_scope_without_an_operation_repeats_the_nested_call_with_equal_counts() -> None:
    inner = candidate("app", 300, 400, trace_id=1, span_id=2, parent_id=1)
    outer = candidate("app", 0, 900, trace_id=1, span_id=1, operation="other")
    assert deduplicate(inner, outer) == [inner]
    different = candidate("app", 0, 900, (50, 20), trace_id=1, span_id=1, operation="other")
    assert len(deduplicate(inner, different)) == 2


def test_a_record_written_after_a_call_is_the_same_call() -> None:
    """As AG2 writes it."""
    client = candidate("openai", 0, 800, trace_id=1, span_id=2, parent_id=1)
    record = candidate("ag2", 930, 930.2, trace_id=1, span_id=3, parent_id=1)
    assert deduplicate(client, record) == [client]
    assert len(deduplicate(client, record._replace(start_ns=record.start_ns - 400_000_000))) == 2
    assert len(deduplicate(client, record._replace(trace_id=9))) == 2
    assert len(deduplicate(client, candidate("ag2", 930, 930.2, (111, 38), trace_id=1, span_id=3, parent_id=1))) == 2
    second = candidate("openai", 100, 900, trace_id=1, span_id=4, parent_id=1)
    later = record._replace(span_id=5, start_ns=record.start_ns + 1000)
    assert len(deduplicate(client, second, record, later)) == 2
