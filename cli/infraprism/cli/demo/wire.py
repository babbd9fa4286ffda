"""A proxy between the app and the backend that records every request."""

from __future__ import annotations

import gzip
import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_REQUEST_HEADERS: Final = ("content-type", "content-encoding", "authorization", "user-agent")
_RESPONSE_HEADERS: Final = ("content-type", "retry-after")
_TIMEOUT_S: Final = 60.0


class Wire:
    """Forwards OTLP over HTTP to a backend on `port` of this machine. A context manager."""

    def __init__(self, port: int) -> None:
        self.backend_port = port
        self._bodies: list[bytes] = []
        self._lock = Lock()
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="demo-wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The value for INFRAPRISM_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def bodies(self) -> list[bytes]:
        """The decompressed bodies of all requests that the backend accepted."""
        with self._lock:
            return list(self._bodies)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span in the bodies as OTLP/JSON, with its `resource` and `scope`."""
        requests = (ExportTraceServiceRequest.FromString(body) for body in self.bodies)
        return [
            {"resource": _as_json(resource.resource), "scope": _as_json(scope.scope), **_span_json(span)}
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def record(self, body: bytes) -> None:
        """Record a body."""
        with self._lock:
            self._bodies.append(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: self.headers[name] for name in _REQUEST_HEADERS if name in self.headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.wire.backend_port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except OSError:
            self.send_error(503)
            return
        finally:
            connection.close()
        if response.status < 300:  # noqa: PLR2004  # HTTP success
            self.server.wire.record(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        self.send_response(response.status)
        for name in _RESPONSE_HEADERS:
            if value := response.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Log no requests."""


def _as_json(message: Any) -> dict[str, Any]:
    converted: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    return converted


def _span_json(span: Any) -> dict[str, Any]:
    return _as_json(span) | {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
