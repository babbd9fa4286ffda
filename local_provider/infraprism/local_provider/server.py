"""The HTTP/1.1 test server: keep-alive, chunked streams, gzip, and simulated connection failures."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Final, Self

from infraprism.local_provider.billing_record import BillingRecord, Exchange
from infraprism.local_provider.provider_request import ProviderRequest, ServerState
from infraprism.local_provider.provider_response import ProviderResponse
from infraprism.local_provider.routes import parse_request, respond

_MAX_BODY: Final = 64 << 20
_HANG_S: Final = 60.0


class LocalProvider:
    """A test server on a loopback port with the wire formats of OpenAI, Azure OpenAI and Anthropic.

    Use it as a context manager, or call `start` and `close`. `port` 0 selects a free port. `canary` is a text that each
    response contains. `gzip` compresses responses for clients that accept it. `slow_s` is the delay in seconds that the
    marker `slow` causes. The newest `keep` requests are recorded. Raises OSError if the port is in use.
    """

    def __init__(
        self,
        port: int = 0,
        canary: str | None = None,
        *,
        gzip: bool = False,
        slow_s: float = 0.3,
        keep: int = 100_000,
        on_request: Callable[[BillingRecord], None] | None = None,
    ) -> None:
        self.canary = canary
        self.gzip = gzip
        self.slow_s = slow_s
        self.state = ServerState()
        self.stopping = Event()
        self._exchanges: deque[Exchange] = deque(maxlen=keep)
        self._on_request = on_request
        self._server = _Server(port, self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="local-provider", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Close all connections and the port."""
        self.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.cut_connections()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def openai_base_url(self) -> str:
        """For OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """For ANTHROPIC_BASE_URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def azure_endpoint(self) -> str:
        """For AZURE_OPENAI_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[BillingRecord]:
        """The billing record of every request, oldest first. A request is recorded before its response is sent."""
        return [exchange.record for exchange in list(self._exchanges)]

    @property
    def exchanges(self) -> list[Exchange]:
        """The same requests with their bytes."""
        return list(self._exchanges)

    def clear(self) -> None:
        """Delete all records."""
        self._exchanges.clear()

    def record(self, exchange: Exchange) -> None:
        """Record a request. Called before its response is sent."""
        self._exchanges.append(exchange)
        if self._on_request is not None:
            self._on_request(exchange.record)


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    # Threads are joined on close: their connections are closed first, and delays end when `stopping` is set.
    daemon_threads = False
    block_on_close = True

    def __init__(self, port: int, provider: LocalProvider) -> None:
        self.provider = provider
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # Unlike HTTPServer's own method, it does not resolve the host name.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the client closed it first
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Log nothing: `calls` has all requests."""

    def _handle(self) -> None:
        provider = self.server.provider
        raw = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request, route = parse_request(
            self.command, self.path, headers=headers, raw=raw, state=provider.state, canary=provider.canary
        )
        response = respond(request, route)
        provider.record(self._exchange(request, response))
        if request.has_marker("hang"):
            provider.stopping.wait(_HANG_S)
            self.close_connection = True
            return
        if request.has_marker("slow"):
            provider.stopping.wait(provider.slow_s)
        if response.body is None:
            self._send_stream(request, response)
        else:
            self._send_body(request, response, response.body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MAX_BODY))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _exchange(self, request: ProviderRequest, response: ProviderResponse) -> Exchange:
        cut_body = request.has_marker("drop") and response.body is not None and response.status == 200  # noqa: PLR2004  # HTTP OK
        record = BillingRecord(
            provider=request.provider,
            operation=request.operation,
            request_model=request.model,
            response_model=response.model,
            usage=response.usage,
            reported=None if cut_body else response.reported,
            status=response.status,
            error_code=response.error_code,
            streamed=response.body is None,
            request_id=request.request_id,
            response_id=response.response_id,
            service_tier=response.service_tier,
            attempt=request.attempt,
        )
        content = b"".join(response.events) if response.body is None else response.body
        return Exchange(record, self.command, self.path, tuple(request.headers.items()), request.raw, content)

    def _head(self, request: ProviderRequest, response: ProviderResponse, content_type: str, *, zipped: bool) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", content_type)
        self.send_header("request-id" if request.provider == "anthropic" else "x-request-id", request.request_id)
        if request.provider != "anthropic":
            self.send_header("openai-version", "2020-10-01")
        for name, value in response.headers.items():
            self.send_header(name, value)
        if zipped:
            self.send_header("Content-Encoding", "gzip")

    def _zips(self) -> bool:
        return self.server.provider.gzip and "gzip" in self.headers.get("Accept-Encoding", "")

    def _send_body(self, request: ProviderRequest, response: ProviderResponse, body: bytes) -> None:
        zipped = self._zips()
        sent = gzip.compress(body, 1) if zipped else body
        self._head(request, response, "application/json", zipped=zipped)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        cut = request.has_marker("drop") and response.status == 200  # noqa: PLR2004  # HTTP OK
        self.wfile.write(sent[: len(sent) // 2] if cut else sent)
        self.close_connection = self.close_connection or cut

    def _send_stream(self, request: ProviderRequest, response: ProviderResponse) -> None:
        zipped = self._zips()
        self._head(request, response, "text/event-stream; charset=utf-8", zipped=zipped)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pause = self.server.provider.slow_s / max(1, len(response.events)) if request.has_marker("slow") else 0
        for chunk in _zipped(response.events) if zipped else response.events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            if pause:
                self.server.provider.stopping.wait(pause)
        if response.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _zipped(events: Any) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, wbits=31)
    for event in events:
        yield compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


def json_line(record: BillingRecord) -> str:
    """A billing record as a line of JSON."""
    values = record._asdict()
    for key in ("usage", "reported"):
        billed = values[key]
        values[key] = None if billed is None else {k: v for k, v in billed._asdict().items() if v is not None}
    return json.dumps(values)
