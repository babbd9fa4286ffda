"""gRPC calls that send no message, or are not authenticated, cannot keep others from the server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from tests.kit.backend import Backend, request, span
from tests.kit.connections import EXPORT, OWN_CONNECTION, send_grpc
from tests.kit.events import event, events

from infraprism.schema import Event

NewEvent = Callable[..., Event]
_MEGABYTE = 2**20


@contextlib.contextmanager
def stalled_calls(backend: Backend, number: int, key: str | None) -> Iterator[list[Any]]:
    """Calls of one connection that send their headers and no message."""
    ended = threading.Event()

    def no_message() -> Iterator[bytes]:
        ended.wait(60)
        yield from ()

    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    with grpc.insecure_channel(backend.grpc_address, options=OWN_CONNECTION) as channel:
        export = channel.stream_unary(EXPORT)
        # Each call has a thread that waits; the connection is made first.
        grpc.channel_ready_future(channel).result(20)
        calls = [export.future(no_message(), metadata=metadata, timeout=60) for _ in range(number)]
        try:
            yield calls
        finally:
            ended.set()
            for call in calls:
                call.cancel()


def _retry_s(call: Any) -> int:
    status = Status.FromString(dict(call.trailing_metadata())["grpc-status-details-bin"])
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    return int(info.retry_delay.seconds)


def _error(call: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def _resident_bytes(backend: Backend) -> int:
    status = Path(f"/proc/{backend.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_256_calls_without_a_key_and_without_a_message_are_rejected_at_once(
    backend: Backend, new_event: NewEvent
) -> None:
    with stalled_calls(backend, 256, None) as calls:
        for call in calls:
            assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        send_grpc(backend, [span(new_event())])


def test_256_calls_with_a_key_and_without_a_message_do_not_keep_others_out(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    with stalled_calls(backend, 300, backend.key) as calls:
        for key in (backend.key, account):
            send_grpc(backend, [span(new_event())], key)
        assert not any(call.done() for call in calls)
        assert backend.export(span(new_event()), key=account).rejected == 0


def test_320_clients_at_the_same_time_are_served(backend: Backend, account: str) -> None:
    sent = [request([span(one)]).SerializeToString() for one in events(320)]
    metadata = (("authorization", f"Bearer {account}"),)
    with contextlib.ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(backend.grpc_address, options=OWN_CONNECTION)) for _ in sent
        ]
        calls = [
            channel.unary_unary(EXPORT).future(body, metadata=metadata, timeout=60)
            for channel, body in zip(channels, sent, strict=True)
        ]
        assert [call.result() for call in calls] == [b""] * 320
    assert len(backend.events(account)) == 320


def test_the_messages_of_calls_without_a_key_are_not_held_in_memory(backend: Backend) -> None:
    before = _resident_bytes(backend)
    peak = before
    with contextlib.ExitStack() as stack:
        channels = [
            stack.enter_context(
                grpc.insecure_channel(backend.grpc_address, options=OWN_CONNECTION, compression=grpc.Compression.Gzip)
            )
            for _ in range(10)
        ]
        for _ in range(10):
            calls = [
                channel.unary_unary(EXPORT).future(bytes(15 * _MEGABYTE), timeout=60)
                for channel in channels
                for _ in range(2)
            ]
            for call in calls:
                assert call.code() is grpc.StatusCode.UNAUTHENTICATED
            peak = max(peak, _resident_bytes(backend))
    assert peak - before < 100 * _MEGABYTE


def test_a_second_message_is_invalid(backend: Backend, new_event: NewEvent, account: str) -> None:
    body = request([span(new_event())]).SerializeToString()
    metadata = (("authorization", f"Bearer {account}"),)
    with grpc.insecure_channel(backend.grpc_address) as channel:
        error = _error(lambda: channel.stream_unary(EXPORT)(iter([body, body]), metadata=metadata, timeout=30))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert backend.events(account) == []


def test_a_call_with_two_authorization_headers_is_not_authenticated(backend: Backend, account: str) -> None:
    metadata = (("authorization", f"Bearer {account}"), ("authorization", f"Bearer {backend.key}"))
    with grpc.insecure_channel(backend.grpc_address) as channel:
        error = _error(lambda: channel.unary_unary(EXPORT)(b"", metadata=metadata, timeout=30))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"grpc_message_timeout_s": 0.5}, grpc.StatusCode.UNAVAILABLE),
        ({"grpc_unread_calls": 4}, grpc.StatusCode.UNAVAILABLE),
        ({"grpc_calls": 5}, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["time", "unread", "calls"],
)
def test_a_call_that_exceeds_a_limit_is_rejected_as_retryable(
    tmp_path: Path, limits: dict[str, float], code: grpc.StatusCode
) -> None:
    with Backend(tmp_path / "data", limits=limits) as backend:
        with stalled_calls(backend, 6, backend.key) as calls:
            ended = next(call for call in _in_order_of_end(calls) if call.done())
            assert ended.code() is code
            assert _retry_s(ended) == 1
        send_grpc(backend, [span(event(1))], wait_for_ready=True)
        assert len(backend.events()) == 1


def _in_order_of_end(calls: list[Any]) -> list[Any]:
    """The calls, when one has ended."""
    one_has_ended = threading.Event()
    for call in calls:
        call.add_done_callback(lambda _: one_has_ended.set())
    assert one_has_ended.wait(30)
    return calls
