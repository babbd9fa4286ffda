"""Requests that cannot be stored are not acknowledged and are rejected as retryable."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from tests.kit.backend import Answer, Backend, request, span
from tests.kit.events import event, events

from infraprism.backend.store import lanes
from infraprism.schema import Event

NewEvent = Callable[..., Event]


def _grpc_status(backend: Backend, body: bytes) -> tuple[grpc.StatusCode, Status]:
    with grpc.insecure_channel(backend.grpc_address) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as raised:
            export(body, metadata=(("authorization", f"Bearer {backend.key}"),), timeout=30)
    details = dict(raised.value.trailing_metadata())["grpc-status-details-bin"]
    return raised.value.code(), Status.FromString(details)


def _retry_s(status: Status) -> int:
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    return int(info.retry_delay.seconds)


def test_requests_beyond_the_memory_limit_are_rejected_as_retryable(tmp_path: Path) -> None:
    many = [span(one) for one in events(200)]
    with Backend(tmp_path / "data", max_waiting_bytes=50_000) as backend:
        for compress in (False, True):
            answer = backend.export(*many, compress=compress)
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
            assert Status.FromString(answer.body).code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        code, status = _grpc_status(backend, request(many).SerializeToString())
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _retry_s(status) == 1
        assert backend.events() == []
        for start in range(0, 200, 50):  # the memory of rejected requests is released
            assert backend.export(*many[start : start + 50]).rejected == 0
        assert len(backend.events()) == 200


def test_requests_are_not_acknowledged_while_the_disk_is_full_and_a_resend_counts_once(tmp_path: Path) -> None:
    sent = span(event())
    with Backend(tmp_path / "data") as backend:
        before = resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE)
        # The batch fits, the files of the table do not. The embedded engine reports no error for this.
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (700, before[1]))
        assert len(request([sent]).SerializeToString()) < 600
        answer = backend.export(sent)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        code, status = _grpc_status(backend, request([sent]).SerializeToString())
        assert code is grpc.StatusCode.UNAVAILABLE
        assert _retry_s(status) == 5
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, before)
        assert backend.export(sent).rejected == 0
        assert len(backend.events()) == 1
        _, errors = backend.stop()
        assert "could not be stored" in errors
        assert "acme-corp" not in errors


WRONG_WIRE_TYPES = (b"\x08\x01", b"\x0b\x0c", b"\x0d\0\0\0\0", b"\x09" + bytes(8), b"\xa3\x06\xa4\x06")
"""Known field numbers with another wire type, appended to a request. A protobuf parser skips them; the engine fails."""


def test_a_request_that_the_engine_cannot_parse_does_not_affect_others(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    good = [new_event() for _ in range(12)]
    odd = [request([span(new_event())]).SerializeToString() + rest for rest in WRONG_WIRE_TYPES]

    def send(body: bytes) -> Answer:
        return backend.export(body=body, key=account)

    with ThreadPoolExecutor(17) as pool:
        answers = list(pool.map(send, [*odd, *(request([span(one)]).SerializeToString() for one in good)]))
    assert [answer.rejected for answer in answers] == [0] * len(answers)
    assert {one.id for one in good} <= {found["id"] for found in backend.events(account)}


def test_a_batch_is_passed_to_the_engine_on_platforms_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    pieces = [b"x" * 100_000, b"\n", b"y" * 200_000]
    with lanes.pieces_as_file(pieces) as path:
        assert Path(path).read_bytes() == b"".join(pieces)


def test_an_engine_that_stops_reading_a_pipe_does_not_block_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    # More than a pipe buffers, so that the writing thread waits for a reader.
    with lanes.pieces_as_file([b"x" * 300_000]) as path, Path(path).open("rb", buffering=0) as reader:
        assert reader.read(1) == b"x"
