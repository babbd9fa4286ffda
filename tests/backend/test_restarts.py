"""After a crash no acknowledged call is missing, and no call becomes a second event."""

from __future__ import annotations

import itertools
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import CALL, LANGCHAIN, LLM, SEMCONV, Backend, cleaned_span, nested_span
from tests.kit.otlp_canaries import export_request

from infraprism.backend.span_conversion.account_calls import MAX_CALLS
from infraprism.deduplication.deduplicator import HOLD_S

ID = {"gen_ai.response.id": "0123456789abcdef" * 4}
OTHER_ID = {"gen_ai.response.id": "fedcba9876543210" * 4}


@contextmanager
def crashing_backend(folder: Path) -> Iterator[Backend]:
    """A backend that is killed at the end of the block."""
    backend = Backend(folder / "data")
    try:
        yield backend
    finally:
        backend.stop(signal.SIGKILL)


def in_one_trace() -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """One call: the client's span, and the framework's parent span."""
    outer = cleaned_span(LLM)
    return export_request([nested_span(outer, CALL)], SEMCONV), export_request([outer], LANGCHAIN)


def in_two_traces() -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """One call, reported by two unrelated instrumentations. The response id identifies it."""
    one, other = cleaned_span({**CALL, **ID}), cleaned_span({**CALL, **ID})
    other.start_time_unix_nano, other.end_time_unix_nano = one.start_time_unix_nano, one.end_time_unix_nano
    return export_request([one], SEMCONV), export_request([other], "openlit.instrumentation.openai")


@pytest.mark.parametrize("requests_of_call", [in_one_trace, in_two_traces])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_span_that_arrives_after_a_crash_is_deduplicated_with_a_call_stored_before(
    tmp_path: Path, requests_of_call: Any, order: tuple[int, int]
) -> None:
    parts = requests_of_call()
    first, second = (parts[place] for place in order)
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(first).rejected == 0
        (before,) = backend.events()
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(second).rejected == 0
        assert backend.events() == [before]
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(*parts).rejected == 0
        assert backend.events() == [before]


def test_deduplicated_spans_that_are_resent_in_separate_requests_remain_one_event(
    tmp_path: Path,
) -> None:
    inner, outer = in_one_trace()
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(inner, outer).rejected == 0
        (before,) = backend.events()
    with crashing_backend(tmp_path) as backend:
        for part in (outer, inner):
            assert backend.export_requests(part).rejected == 0
        assert backend.events() == [before]


def test_a_request_that_was_held_during_a_crash_counts_once_when_it_is_resent(tmp_path: Path) -> None:
    requests = [export_request([cleaned_span(CALL) for _ in range(20)], SEMCONV) for _ in range(5)]
    responses: list[object] = []

    def sender(backend: Backend, request: ExportTraceServiceRequest) -> None:
        with suppress(OSError, HTTPException):
            responses.append(backend.export_requests(request))

    for held_s in (0.2, HOLD_S - 0.1, HOLD_S + 0.05, HOLD_S + 0.15):
        with crashing_backend(tmp_path) as backend:
            senders = [threading.Thread(target=sender, args=(backend, request)) for request in requests]
            for each in senders:
                each.start()
            senders[0].join(held_s)
            backend.stop(signal.SIGKILL)
            for each in senders:
                each.join()
    with crashing_backend(tmp_path) as backend:
        for request in requests:
            assert backend.export_requests(request).rejected == 0
        assert len(backend.events()) == 100


def test_two_calls_remain_two_events_if_the_first_is_loaded_after_a_crash(tmp_path: Path) -> None:
    outer = cleaned_span({**LLM, "llm.token_count.prompt": 7})
    first, second = nested_span(outer, {**CALL, **ID}), nested_span(outer, {**CALL, **OTHER_ID})
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(export_request([first], SEMCONV)).rejected == 0
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(export_request([second], SEMCONV)).rejected == 0
        assert len(backend.events()) == 2


def test_a_recorded_call_that_was_never_stored_is_stored_when_it_is_resent(tmp_path: Path) -> None:
    inner, outer = in_one_trace()
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(inner, outer).rejected == 0
    # The state of a crash between recording the call and storing its event.
    for path in sorted((tmp_path / "data" / "store").rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    with crashing_backend(tmp_path) as backend:
        assert backend.events() == []
        assert backend.export_requests(inner, outer).rejected == 0
        assert len(backend.events()) == 1


def test_a_recorded_call_that_was_never_stored_remains_new_when_later_calls_are_stored(tmp_path: Path) -> None:
    (inner, outer), (other, parent) = in_one_trace(), in_one_trace()
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(inner, outer).rejected == 0
    # The state of a crash between recording the call and storing its event.
    for path in sorted((tmp_path / "data" / "store").rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    with crashing_backend(tmp_path) as backend:
        assert backend.export_requests(other, parent).rejected == 0
        # Records that all earlier calls are stored.
        assert backend.export_requests(*in_one_trace()).rejected == 0
    with crashing_backend(tmp_path) as backend:
        assert len(backend.events()) == 2
        assert backend.export_requests(inner, outer).rejected == 0
        assert len(backend.events()) == 3


def test_the_recorded_calls_of_an_account_are_bounded_and_exceed_a_large_request(tmp_path: Path) -> None:
    offsets_ns = itertools.count(step=2_000_000_000)
    with crashing_backend(tmp_path) as backend:
        for _ in range(5):
            calls = [cleaned_span(CALL, parent_span_id=b"a parent") for _ in range(MAX_CALLS // 4)]
            for call in calls:
                offset_ns = next(offsets_ns)
                call.start_time_unix_nano += offset_ns
                call.end_time_unix_nano += offset_ns
            assert backend.export_requests(export_request(calls, SEMCONV)).rejected == 0
    with closing(sqlite3.connect(tmp_path / "data" / "calls.sqlite")) as recorded:
        ((number,),) = recorded.execute("SELECT count(*) FROM calls")
    assert MAX_CALLS <= number < 5 * MAX_CALLS // 4
    with crashing_backend(tmp_path) as backend:
        before = _number_of_events(backend)
        assert backend.export_requests(export_request([_parent_span(calls[0])], LANGCHAIN)).rejected == 0
        assert _number_of_events(backend) == before == 5 * (MAX_CALLS // 4)


def _number_of_events(backend: Backend) -> int:
    """The number of stored events."""
    answer = backend.get("/v1/analytics/costs", start_date="2026-09-01", end_date="2026-11-30")
    number: int = answer.json["summary"]["total_events"]
    return number


def _parent_span(inner: Span) -> Span:
    """The framework's parent span of a call."""
    outer = cleaned_span(LLM)
    outer.trace_id, outer.span_id = inner.trace_id, inner.parent_span_id
    outer.start_time_unix_nano = inner.start_time_unix_nano - 1_000_000
    outer.end_time_unix_nano = inner.end_time_unix_nano + 1_000_000
    return outer


def test_recorded_calls_contain_no_attribution(tmp_path: Path) -> None:
    with crashing_backend(tmp_path) as backend:
        attribution = {
            "infraprism.entity_type": "customer",
            "infraprism.entity_id": "acme-corp",
            "infraprism.tags.a": "tag-1",
        }
        assert backend.export_requests(export_request([cleaned_span({**CALL, **attribution})], SEMCONV)).rejected == 0
        written = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("calls.sqlite*"))
    assert b"gpt-4o-mini" in written
    assert b"acme-corp" not in written
    assert b"tag-1" not in written
