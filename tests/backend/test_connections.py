"""Clients without a key cannot keep others from the server: connections, headers and bodies have limits."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.backend import PROTOBUF, Backend, request, span
from tests.kit.connections import address, closed_within, connect, fill, response_status, send_grpc
from tests.kit.events import event, events

HEADERS = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n"
PARTIAL_HEADERS = b"GET /healthz HTTP/1.1\r\nhost"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend with short times and few connections."""
    limits = {
        "http_connections": 20,
        "header_timeout_s": 1.0,
        "body_timeout_s": 2.0,
        "chunk_timeout_s": 1.0,
        "write_timeout_s": 1.0,
    }
    with Backend(tmp_path_factory.mktemp("hasty") / "data", limits=limits) as running:
        yield running


def _with_key(backend: Backend, length: int) -> bytes:
    return f"{HEADERS}authorization: Bearer {backend.key}\r\ncontent-length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("sent", [b"", b"G", PARTIAL_HEADERS, b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_connection_that_sends_no_complete_headers_is_closed(hasty: Backend, sent: bytes) -> None:
    with connect(hasty) as idle:
        idle.sendall(sent)
        assert closed_within(idle, 10)


def test_a_connection_that_sends_a_header_byte_by_byte_is_closed(hasty: Backend) -> None:
    with connect(hasty) as slow:
        ends_at = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_at:
                slow.sendall(b"G")
                if closed_within(slow, 0.1):
                    return
    assert time.monotonic() < ends_at


def test_the_headers_of_a_later_request_have_the_same_deadline(hasty: Backend) -> None:
    with connect(hasty) as kept:
        kept.sendall(b"GET /v1/me HTTP/1.1\r\nhost: x\r\n\r\n")
        assert response_status(kept) == 401
        kept.sendall(PARTIAL_HEADERS)
        assert closed_within(kept, 4.5)  # less than the time of a connection without a request


def test_the_rest_of_a_body_after_the_response_has_a_deadline(hasty: Backend) -> None:
    with connect(hasty) as slow:
        slow.sendall(f"{HEADERS}content-length: 1000\r\n\r\nx".encode())
        assert response_status(slow) == 401
        ends_at = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_at and not closed_within(slow, 0.1):
                slow.sendall(b"x")
    assert time.monotonic() < ends_at


def test_idle_connections_beyond_the_limit_do_not_keep_others_out(hasty: Backend) -> None:
    with contextlib.ExitStack() as stack:
        fill(hasty, 100, stack, PARTIAL_HEADERS)
        started = time.monotonic()
        assert hasty.export(span(event(1))).rejected == 0
        assert time.monotonic() - started < 5


def test_the_key_is_checked_before_the_body_is_read(hasty: Backend) -> None:
    for key in ("", "authorization: Bearer ip-not-a-key-of-this-server\r\n"):
        with connect(hasty) as waiting:
            waiting.sendall(f"{HEADERS}{key}content-length: 15000000\r\n\r\n".encode())
            assert response_status(waiting) == 401
            with pytest.raises(OSError, match=r"Broken pipe|reset"):
                waiting.sendall(bytes(15_000_000))  # the rest is not read


def test_an_invalid_body_after_the_response_closes_the_connection_without_a_log_line(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        with connect(backend) as hostile:
            hostile.sendall(f"{HEADERS}transfer-encoding: chunked\r\n\r\n".encode())
            assert response_status(hostile) == 401
            hostile.sendall(b"not a chunk\r\n")
            assert closed_within(hostile, 3)
        assert backend.stop() == (0, "")


def test_a_slow_body_is_rejected_as_retryable_and_nothing_of_it_is_stored(hasty: Backend) -> None:
    body = request([span(event(number)) for number in range(10, 20)]).SerializeToString()
    before = len(hasty.events())
    with connect(hasty) as stalled, connect(hasty) as slow:
        for connection in (stalled, slow):
            connection.sendall(_with_key(hasty, len(body)) + body[:10])
        ended = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                for byte in body[10:]:
                    slow.sendall(bytes([byte]))
                    if ended.wait(0.1):
                        return

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            for connection in (stalled, slow):
                answer = connection.recv(65_536).lower()
                assert answer.startswith(b"http/1.1 503")
                assert b"\r\nretry-after: " in answer
                assert b"\r\nconnection: close" in answer
                assert closed_within(connection, 10)
        finally:
            ended.set()
            sender.join()
    assert len(hasty.events()) == before


def test_a_client_that_does_not_read_its_response_is_disconnected(hasty: Backend) -> None:
    assert hasty.export(*[span(one) for one in events(1000)], key=hasty.key).rejected == 0
    with connect(hasty, receive_bytes=4096) as deaf:
        get = f"GET /v1/events?limit=1000 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {hasty.key}\r\n\r\n".encode()
        with contextlib.suppress(OSError):
            deaf.sendall(get * 20)
        deaf.settimeout(10)
        threading.Event().wait(2.5)  # longer than the time to read
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := deaf.recv(1 << 20):
                received += len(chunk)
        assert received < 20 * len(hasty.get("/v1/events", limit=1000).body)


@pytest.mark.parametrize("sent", [b"", PARTIAL_HEADERS], ids=["nothing", "headers"])
def test_1100_idle_connections_do_not_keep_others_out_with_1024_files(tmp_path: Path, sent: bytes) -> None:
    with Backend(tmp_path / "data", files=1024) as backend, contextlib.ExitStack() as stack:
        fill(backend, 1100, stack, sent)
        started = time.monotonic()
        assert backend.export(span(event(1))).rejected == 0
        assert time.monotonic() - started < 2
        started = time.monotonic()
        send_grpc(backend, [span(event(2))])
        assert time.monotonic() - started < 2
        assert len(backend.events()) == 2


def test_1100_idle_grpc_connections_do_not_keep_others_out_with_1024_files(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", files=1024) as backend, contextlib.ExitStack() as stack:
        fill(backend, 1100, stack, b"", address(backend.grpc_address))
        assert backend.export(span(event(1))).rejected == 0
        started = time.monotonic()
        send_grpc(backend, [span(event(2))], wait_for_ready=True)
        assert time.monotonic() - started < 5
        assert len(backend.events()) == 2


def test_the_address_of_a_client_is_neither_logged_nor_stored(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", limits={"header_timeout_s": 0.2, "http_connections": 5}) as backend:
        source = "127.83.41.7"
        for sent in (b"", b"\0\xff\r\n\r\n", PARTIAL_HEADERS, HEADERS.encode() + b"content-length: 9\r\n\r\nx"):
            for target in (address(backend.url), address(backend.grpc_address)):
                with socket.create_connection(target, timeout=10, source_address=(source, 0)) as hostile:
                    hostile.sendall(sent)
        assert backend.export(span(event(1))).rejected == 0
        _, errors = backend.stop()
        assert source not in errors + "".join(backend.lines)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if source.encode() in path.read_bytes()]


def _chunked(body: bytes, size: int) -> bytes:
    """A body in chunks, without its end."""
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.mark.parametrize("has_key", [True, False])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/me"])
def test_a_body_of_many_small_chunks_is_refused_before_its_end(hasty: Backend, path: str, *, has_key: bool) -> None:
    """Each chunk takes as long as kilobytes of a large one, and other connections wait."""
    key = f"authorization: Bearer {hasty.key}\r\n" if has_key else ""
    body = request([span(event(number)) for number in range(2000, 2010)]).SerializeToString()
    before = len(hasty.events())
    with connect(hasty) as hostile:
        headers = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n{key}transfer-encoding: chunked\r\n"
        hostile.sendall(headers.encode() + b"\r\n" + _chunked(body[:2000], 1))
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := hostile.recv(65_536):
                answer += received
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"too many small chunks: send chunks of at least 256 bytes" in answer
    assert len(hasty.events()) == before


@pytest.mark.parametrize(("length", "size"), [(100, 8), (20_000, 300), (20_000, 7000)])
def test_a_body_of_some_small_or_many_large_chunks_is_accepted(hasty: Backend, length: int, size: int) -> None:
    spans = []
    while len(body := request(spans).SerializeToString()) < length:
        spans.append(span(event(3000 + len(spans))))
    with connect(hasty) as connection:
        headers = f"{HEADERS}authorization: Bearer {hasty.key}\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(headers.encode() + _chunked(body, size) + b"0\r\n\r\n")
        assert response_status(connection) == 200


def test_the_trailers_of_a_body_are_limited_like_headers(hasty: Backend) -> None:
    headers = f"{HEADERS}authorization: Bearer {hasty.key}\r\ntransfer-encoding: chunked\r\n\r\n"
    body = request([span(event(4000))]).SerializeToString()
    with connect(hasty) as hostile:
        hostile.sendall(headers.encode() + _chunked(body, 1000) + b"0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n")
        assert hostile.recv(65_536).startswith(b"HTTP/1.1 400")
