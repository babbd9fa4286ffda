"""A real OTLP endpoint on loopback that keeps every byte it receives, and answers as configured.

    with OtlpSink("grpc") as sink:
        exporter = InfraPrismSpanExporter(sink.endpoint, "ip-test", "grpc")
        sink.answer_with(Reply(status=503), Reply(rejected=1))  # then OK for everything else
        ...
        sink.spans()        # protobuf Spans of the requests that were answered with success
        sink.requests       # every request: headers, path, raw, body, answered, taken
        sink.seen()         # every byte of every request, to look for what must not be there

Over gRPC a `Reply` is translated: a status of HTTP to the code of the same meaning. `raw` is what arrived before
decompression; gRPC decompresses on its own, so that there it is the same as `body`.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class Reply:
    """How to answer one request. The plain `Reply()` takes it."""

    status: int = 200
    rejected: int = 0
    """Partial success: so many spans were not taken."""
    body: bytes | None = None
    """Instead of the OTLP answer."""
    message: str = ""
    """The endpoint's own words, in the body or the gRPC details."""
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: str | None = None
    """`Retry-After`; over gRPC, where it must be seconds, RetryInfo."""
    hang_s: float = 0.0
    """Wait before answering; ends early when the sink closes."""
    reset: bool = False
    """Break the connection without an answer."""

    def content(self) -> bytes:
        """The body of the answer."""
        if self.body is not None:
            return self.body
        if self.status >= 300:
            return self.message.encode()
        if not self.rejected:
            return b""
        partial = ExportTracePartialSuccess(rejected_spans=self.rejected, error_message=self.message)
        return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


OK = Reply()


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case."""

    headers: dict[str, str]
    path: str
    raw: bytes
    body: bytes
    answered: Reply
    at: float
    """time.monotonic()"""

    @property
    def taken(self) -> bool:
        """Whether the answer was a success."""
        return self.answered.status < 300 and not self.answered.reset

    def spans(self) -> list[Span]:
        """The spans in it."""
        message = ExportTraceServiceRequest.FromString(self.body)
        return [span for r in message.resource_spans for s in r.scope_spans for span in s.spans]


@dataclass(frozen=True)
class Tls:
    """PEM files of a server; with `client_authority` it asks for a client certificate of that authority."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


class OtlpSink:
    """The endpoint; `protocol` is `http/protobuf` or `grpc`. Use as a context manager."""

    def __init__(self, protocol: str = "http/protobuf", *, tls: Tls | None = None, port: int = 0) -> None:
        self.protocol = protocol
        self.requests: list[Request] = []
        self._script: deque[Reply] = deque()
        self._rule: Callable[[int, bytes], Reply] | None = None
        self._changed = threading.Condition()
        self.closing = threading.Event()
        self._server: _HttpServer | _GrpcServer
        self._server = _GrpcServer(self, tls, port) if protocol == "grpc" else _HttpServer(self, tls, port)
        self.port = self._server.port
        self.endpoint = f"{'https' if tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.close()

    def answer_with(self, *replies: Reply) -> None:
        """Answer the next requests so, one each; those after them are taken."""
        self._script.extend(replies)

    def answer_by(self, rule: Callable[[int, bytes], Reply] | None) -> None:
        """Answer each request by a function of how many came before it and of its body."""
        self._rule = rule

    def spans(self) -> list[Span]:
        """The spans of all requests that were answered with success."""
        return [span for request in tuple(self.requests) if request.taken for span in request.spans()]

    def seen(self) -> bytes:
        """Every byte that arrived, headers included."""
        parts = []
        for request in tuple(self.requests):
            parts += [f"{name}: {value}\n".encode() for name, value in request.headers.items()]
            parts += [request.path.encode(), request.raw, request.body]
        return b"\n".join(parts)

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Request]:
        """Wait until so many requests have arrived; fails if they do not."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise AssertionError(f"{len(self.requests)} of {count} requests arrived")
            return list(self.requests)

    def receive(self, headers: dict[str, str], path: str, raw: bytes) -> Reply:
        """Keep a request and return how to answer it; for the servers below."""
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        with self._changed:
            if self._rule is not None:
                reply = self._rule(len(self.requests), body)
            else:
                reply = self._script.popleft() if self._script else OK
            self.requests.append(Request(headers, path, raw, body, reply, time.monotonic()))
            self._changed.notify_all()
        return reply


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, sink: OtlpSink, tls: Tls | None, port: int) -> None:
        super().__init__(("localhost", port), _Handler)
        self.sink = sink
        self.open: set[socket.socket] = set()
        self.port = self.server_address[1]
        if tls is not None:
            self.socket = _tls_context(tls).wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or does not trust us, is part of the tests."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in tuple(self.open):
            # Closing alone would leave a handler that waits for the next request waiting.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _HttpServer

    def setup(self) -> None:
        self.server.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server.open.discard(self.request)
        try:
            super().finish()
        finally:
            _close(self.request)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        sink = self.server.sink
        raw = self.rfile.read(int(self.headers["content-length"]))
        reply = sink.receive({name.lower(): value for name, value in self.headers.items()}, self.path, raw)
        if reply.hang_s:
            sink.closing.wait(reply.hang_s)
        if reply.reset:
            # Lingering for no time sends a reset instead of an orderly end.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            _close(self.request)
            return
        content = reply.content()
        self.send_response(reply.status)
        for name, value in {"content-type": "application/x-protobuf", **reply.headers}.items():
            self.send_header(name, value)
        if reply.retry_after is not None:
            self.send_header("retry-after", reply.retry_after)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _GrpcServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package has no types
    def __init__(self, sink: OtlpSink, tls: Tls | None, port: int) -> None:
        self._sink = sink
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=(self,), options=(("grpc.so_reuseport", 0),))
        address = f"localhost:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            authority = tls.client_authority and tls.client_authority.read_bytes()
            credentials = grpc.ssl_server_credentials(
                [(tls.key.read_bytes(), tls.certificate.read_bytes())], authority, authority is not None
            )
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    def service(self, details: Any) -> Any:
        """Every method is answered."""
        headers = {str(name): str(value) for name, value in details.invocation_metadata}
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._answer(headers, details.method, message, context)
        )

    def _answer(self, headers: dict[str, str], path: str, message: bytes, context: Any) -> bytes:
        reply = self._sink.receive(headers, path, message)
        if reply.hang_s:
            self._sink.closing.wait(reply.hang_s)
        if reply.status < 300 and not reply.reset:
            return reply.content()
        if reply.retry_after is not None:
            seconds = float(reply.retry_after)
            delay = Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
            info = RetryInfo(retry_delay=delay).SerializeToString()
            context.set_trailing_metadata((("google.rpc.retryinfo-bin", info),))
        text = "Received message larger than max (2 vs. 1)" if reply.status == 413 else reply.message
        code = grpc.StatusCode.UNAVAILABLE if reply.reset else CODES.get(reply.status, grpc.StatusCode.UNKNOWN)
        context.abort(code, text)
        raise AssertionError("abort raises")

    def close(self) -> None:
        self._server.stop(None).wait()


def _tls_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.client_authority)
    return context


def _close(connection: socket.socket) -> None:
    # The client may have been quicker.
    with suppress(OSError):
        connection.close()
