"""Where more comes than can be stored, or nothing can be stored, nothing is acknowledged and senders come back."""

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

from infraprism.backend.store import embedded
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


def test_beyond_the_memory_for_waiting_requests_senders_are_told_to_come_back(tmp_path: Path) -> None:
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
        for start in range(0, 200, 50):  # the room is given back, whatever became of a request
            assert backend.export(*many[start : start + 50]).rejected == 0
        assert len(backend.events()) == 200


def test_where_nothing_can_be_written_nothing_is_acknowledged_and_a_resend_counts_once(tmp_path: Path) -> None:
    sent = span(event())
    with Backend(tmp_path / "data") as backend:
        before = resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE)
        # The batch itself fits, the files of the table do not; the embedded engine says nothing about it by itself.
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


# Known field numbers with wire types that are not theirs: one reader skips them, another stumbles.
ODD = [b"\x08\x01", b"\x0b\x0c", b"\x0d\0\0\0\0", b"\x09" + bytes(8), b"\xa3\x06\xa4\x06"]


def test_a_request_that_the_engine_cannot_read_spoils_no_other(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    good = [new_event() for _ in range(12)]
    odd = [request([span(new_event())]).SerializeToString() + rest for rest in ODD]

    def send(body: bytes) -> Answer:
        return backend.export(body=body, key=account)

    with ThreadPoolExecutor(17) as pool:
        answers = pool.map(send, [*odd, *(request([span(one)]).SerializeToString() for one in good)])
        told = list(answers)
    assert {answer.status for answer in told[: len(odd)]} <= {200, 400}
    assert told[0].status == 400, "no longer an example of what the engine cannot read"
    assert [answer.rejected for answer in told[len(odd) :]] == [0] * len(good)
    assert {one.id for one in good} <= {found["id"] for found in backend.events(account)}


def test_a_batch_reaches_the_engine_where_files_in_memory_have_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.delattr(os, "memfd_create")
    pieces = [b"x" * 100_000, b"\n", b"y" * 200_000]
    with embedded._as_file(pieces) as path:
        assert Path(path).read_bytes() == b"".join(pieces)
    with embedded._as_file(pieces) as path, Path(path).open("rb") as left_early:
        left_early.read(1)
