"""A server that is killed and started anew: nothing that it answered is missing, and no call becomes a second event."""

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
from tests.backend.test_span_conversion import CALL, LANGCHAIN, LLM, SEMCONV, clean, inside, send
from tests.kit.backend import Backend
from tests.kit.otlp_canaries import traces

from infraprism.backend.span_conversion.account_calls import MAX_CALLS
from infraprism.deduplication.deduplicator import HOLD_S

ID = {"gen_ai.response.id": "0123456789abcdef" * 4}
OTHER_ID = {"gen_ai.response.id": "fedcba9876543210" * 4}


@contextmanager
def killed(folder: Path) -> Iterator[Backend]:
    """A server that ends as in a crash."""
    backend = Backend(folder / "data")
    try:
        yield backend
    finally:
        backend.stop(signal.SIGKILL)


def reported_twice() -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """One call: the client's span, and the framework's around it."""
    outer = clean(LLM)
    return traces([inside(outer, CALL)], SEMCONV), traces([outer], LANGCHAIN)


def in_two_traces() -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest]:
    """One call reported by two instrumentations that do not know of each other: the answer's id tells."""
    one, other = clean({**CALL, **ID}), clean({**CALL, **ID})
    other.start_time_unix_nano, other.end_time_unix_nano = one.start_time_unix_nano, one.end_time_unix_nano
    return traces([one], SEMCONV), traces([other], "openlit.instrumentation.openai")


@pytest.mark.parametrize("reported", [reported_twice, in_two_traces])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_call_one_span_of_which_was_stored_before_a_crash_is_no_second_event_when_the_other_comes(
    tmp_path: Path, reported: Any, order: tuple[int, int]
) -> None:
    parts = reported()
    first, second = (parts[place] for place in order)
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, first).rejected == 0
        (before,) = backend.events()
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, second).rejected == 0
        assert backend.events() == [before]
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, *parts).rejected == 0
        assert backend.events() == [before]


def test_spans_that_were_settled_together_are_one_event_however_they_are_cut_when_they_are_sent_again(
    tmp_path: Path,
) -> None:
    inner, outer = reported_twice()
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, inner, outer).rejected == 0
        (before,) = backend.events()
    with killed(tmp_path) as backend:
        for part in (outer, inner):
            assert send(backend, backend.key, part).rejected == 0
        assert backend.events() == [before]


def test_a_request_that_was_held_when_the_server_was_killed_counts_once_when_it_is_sent_again(tmp_path: Path) -> None:
    requests = [traces([clean(CALL) for _ in range(20)], SEMCONV) for _ in range(5)]
    answers: list[object] = []

    def sender(backend: Backend, request: ExportTraceServiceRequest) -> None:
        with suppress(OSError, HTTPException):
            answers.append(send(backend, backend.key, request))

    for held_s in (0.2, HOLD_S - 0.1, HOLD_S + 0.05, HOLD_S + 0.15):
        with killed(tmp_path) as backend:
            senders = [threading.Thread(target=sender, args=(backend, request)) for request in requests]
            for each in senders:
                each.start()
            senders[0].join(held_s)
            backend.stop(signal.SIGKILL)
            for each in senders:
                each.join()
    with killed(tmp_path) as backend:
        for request in requests:
            assert send(backend, backend.key, request).rejected == 0
        assert len(backend.events()) == 100


def test_two_calls_are_two_whatever_was_remembered_of_the_first(tmp_path: Path) -> None:
    outer = clean({**LLM, "llm.token_count.prompt": 7})
    first, second = inside(outer, {**CALL, **ID}), inside(outer, {**CALL, **OTHER_ID})
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, traces([first], SEMCONV)).rejected == 0
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, traces([second], SEMCONV)).rejected == 0
        assert len(backend.events()) == 2


def test_what_was_noted_and_never_stored_is_stored_when_it_is_sent_again(tmp_path: Path) -> None:
    inner, outer = reported_twice()
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, inner, outer).rejected == 0
    # As if the crash had come between the note and the store.
    for path in sorted((tmp_path / "data" / "store").rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    with killed(tmp_path) as backend:
        assert backend.events() == []
        assert send(backend, backend.key, inner, outer).rejected == 0
        assert len(backend.events()) == 1


def test_what_was_noted_and_never_stored_stays_new_whatever_is_stored_before_it_is_sent_again(tmp_path: Path) -> None:
    (inner, outer), (other, around) = reported_twice(), reported_twice()
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, inner, outer).rejected == 0
    # As if the crash had come between the note and the store.
    for path in sorted((tmp_path / "data" / "store").rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    with killed(tmp_path) as backend:
        assert send(backend, backend.key, other, around).rejected == 0
        # Another note, which also says that all before it are stored.
        assert send(backend, backend.key, *reported_twice()).rejected == 0
    with killed(tmp_path) as backend:
        assert len(backend.events()) == 2
        assert send(backend, backend.key, inner, outer).rejected == 0
        assert len(backend.events()) == 3


def test_what_is_remembered_of_an_account_is_bounded_and_holds_more_than_a_large_request(tmp_path: Path) -> None:
    one_after_another = itertools.count(step=2_000_000_000)
    with killed(tmp_path) as backend:
        for _ in range(5):
            calls = [clean(CALL, parent_span_id=b"a parent") for _ in range(MAX_CALLS // 4)]
            for call in calls:
                moved_ns = next(one_after_another)
                call.start_time_unix_nano += moved_ns
                call.end_time_unix_nano += moved_ns
            assert send(backend, backend.key, traces(calls, SEMCONV)).rejected == 0
    with closing(sqlite3.connect(tmp_path / "data" / "calls.sqlite")) as memory:
        ((remembered,),) = memory.execute("SELECT count(*) FROM calls")
    assert MAX_CALLS <= remembered < 5 * MAX_CALLS // 4
    with killed(tmp_path) as backend:
        before = _number(backend)
        assert send(backend, backend.key, traces([_around(calls[0])], LANGCHAIN)).rejected == 0
        assert _number(backend) == before == 5 * (MAX_CALLS // 4)


def _number(backend: Backend) -> int:
    """How many events there are."""
    answer = backend.get("/v1/analytics/costs", start_date="2026-09-01", end_date="2026-11-30")
    number: int = answer.json["summary"]["total_events"]
    return number


def _around(inner: Span) -> Span:
    """The framework's span around a call's."""
    outer = clean(LLM)
    outer.trace_id, outer.span_id = inner.trace_id, inner.parent_span_id
    outer.start_time_unix_nano = inner.start_time_unix_nano - 1_000_000
    outer.end_time_unix_nano = inner.end_time_unix_nano + 1_000_000
    return outer


def test_the_memory_of_calls_says_nothing_of_whom_they_are_for(tmp_path: Path) -> None:
    with killed(tmp_path) as backend:
        attribution = {
            "infraprism.entity_type": "customer",
            "infraprism.entity_id": "acme-corp",
            "infraprism.tags.a": "tag-1",
        }
        assert send(backend, backend.key, traces([clean({**CALL, **attribution})], SEMCONV)).rejected == 0
        held = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("calls.sqlite*"))
    assert b"gpt-4o-mini" in held
    assert b"acme-corp" not in held
    assert b"tag-1" not in held
