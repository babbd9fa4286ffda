"""Connections to the backend that send less, or slower, than a client should."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import Backend, request

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
"""Options of a channel that shares no connection with others."""


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL or an address."""
    parsed = urllib.parse.urlsplit(url if "//" in url else f"//{url}")
    assert parsed.hostname
    assert parsed.port
    return parsed.hostname, parsed.port


def connect(backend: Backend, receive_bytes: int | None = None) -> socket.socket:
    """A connection to the HTTP port, with a time-out of 20 seconds."""
    made = socket.socket()
    if receive_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.settimeout(20)
    made.connect(address(backend.url))
    return made


def fill(
    backend: Backend, number: int, stack: contextlib.ExitStack, sent: bytes, target: tuple[str, int] | None = None
) -> None:
    """Open connections that send the beginning of a request, or nothing. The server may close some of them."""
    for _ in range(number):
        with contextlib.suppress(OSError):
            made = stack.enter_context(socket.create_connection(target or address(backend.url), timeout=2))
            made.sendall(sent)


def closed_within(connection: socket.socket, timeout_s: float) -> bool:
    """Whether the server closes a connection in that time. What it sends before is discarded."""
    connection.settimeout(timeout_s)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def response_status(connection: socket.socket) -> int:
    """The status of the next response, which is short."""
    return int(connection.recv(65_536).split()[1])


def send_grpc(backend: Backend, spans: Sequence[Span], key: str | None = None, **options: Any) -> None:
    """Send spans over a connection of their own."""
    with grpc.insecure_channel(backend.grpc_address, options=OWN_CONNECTION) as channel:
        answer = channel.unary_unary(EXPORT)(
            request(spans).SerializeToString(),
            metadata=(("authorization", f"Bearer {backend.key if key is None else key}"),),
            timeout=20,
            **options,
        )
    assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
