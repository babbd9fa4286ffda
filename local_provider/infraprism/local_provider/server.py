"""The provider's HTTP/1.1 server: keep-alive, chunked streams, gzip, and connections that break when asked to."""

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

from infraprism.local_provider.call import Call, Memory
from infraprism.local_provider.reply import Reply
from infraprism.local_provider.routes import answer, understand
from infraprism.local_provider.truth import Exchange, Truth

_MAX_BODY: Final = 64 << 20
_HANG_S: Final = 60.0


class LocalProvider:
    """OpenAI, Azure OpenAI and Anthropic on a loopback port, in their true wire formats.

    Use it as a context manager, or call `start` and `close`. `port` 0 takes a free one. `canary` is a text that every
    answer will hold. `gzip` compresses answers for clients that accept it. `slow_s` is what `slow` in a model's name
    costs. The newest `keep` requests are remembered. Raises OSError if the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        canary: str | None = None,
        *,
        gzip: bool = False,
        slow_s: float = 0.3,
        keep: int = 100_000,
        on_call: Callable[[Truth], None] | None = None,
    ) -> None:
        self.canary = canary
        self.gzip = gzip
        self.slow_s = slow_s
        self.memory = Memory()
        self.stopping = Event()
        self._exchanges: deque[Exchange] = deque(maxlen=keep)
        self._on_call = on_call
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
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Cut all connections and free the port."""
        self.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.cut_connections()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port it listens on, on 127.0.0.1."""
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
    def calls(self) -> list[Truth]:
        """The truth about every request so far, oldest first; a request is in it before its answer arrives."""
        return [exchange.truth for exchange in list(self._exchanges)]

    @property
    def exchanges(self) -> list[Exchange]:
        """The same requests with their bytes."""
        return list(self._exchanges)

    def clear(self) -> None:
        """Forget the requests so far."""
        self._exchanges.clear()

    def record(self, exchange: Exchange) -> None:
        """Take down a request; called before its answer is sent."""
        self._exchanges.append(exchange)
        if self._on_call is not None:
            self._on_call(exchange.truth)


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    # Threads are joined on close: their connections are cut first, and whatever waits, waits for `stopping`.
    daemon_threads = False
    block_on_close = True

    def __init__(self, port: int, provider: LocalProvider) -> None:
        self.provider = provider
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own: it asks the resolver for a name that nobody needs.
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
    except OSError:  # the client was faster
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
        """Say nothing: `calls` is the log."""

    def _handle(self) -> None:
        provider = self.server.provider
        raw = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        call, route = understand(
            self.command, self.path, headers=headers, raw=raw, memory=provider.memory, canary=provider.canary
        )
        reply = answer(call, route)
        provider.record(self._exchange(call, reply))
        if call.asks("hang"):
            provider.stopping.wait(_HANG_S)
            self.close_connection = True
            return
        if call.asks("slow"):
            provider.stopping.wait(provider.slow_s)
        if reply.body is None:
            self._send_stream(call, reply)
        else:
            self._send_whole(call, reply, reply.body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MAX_BODY))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _exchange(self, call: Call, reply: Reply) -> Exchange:
        cut_body = call.asks("drop") and reply.body is not None and reply.status == 200  # noqa: PLR2004  # HTTP OK
        truth = Truth(
            provider=call.provider,
            operation=call.operation,
            model_asked=call.model,
            model_answered=reply.model,
            usage=reply.usage,
            reported=None if cut_body else reply.reported,
            status=reply.status,
            error_code=reply.error_code,
            streamed=reply.body is None,
            request_id=call.request_id,
            response_id=reply.response_id,
            service_tier=reply.service_tier,
            attempt=call.attempt,
        )
        got = b"".join(reply.events) if reply.body is None else reply.body
        return Exchange(truth, self.command, self.path, tuple(call.headers.items()), call.raw, got)

    def _head(self, call: Call, reply: Reply, content_type: str, *, zipped: bool) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", content_type)
        self.send_header("request-id" if call.provider == "anthropic" else "x-request-id", call.request_id)
        if call.provider != "anthropic":
            self.send_header("openai-version", "2020-10-01")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if zipped:
            self.send_header("Content-Encoding", "gzip")

    def _zips(self) -> bool:
        return self.server.provider.gzip and "gzip" in self.headers.get("Accept-Encoding", "")

    def _send_whole(self, call: Call, reply: Reply, body: bytes) -> None:
        zipped = self._zips()
        sent = gzip.compress(body, 1) if zipped else body
        self._head(call, reply, "application/json", zipped=zipped)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        cut = call.asks("drop") and reply.status == 200  # noqa: PLR2004  # HTTP OK
        self.wfile.write(sent[: len(sent) // 2] if cut else sent)
        self.close_connection = self.close_connection or cut

    def _send_stream(self, call: Call, reply: Reply) -> None:
        zipped = self._zips()
        self._head(call, reply, "text/event-stream; charset=utf-8", zipped=zipped)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pause = self.server.provider.slow_s / max(1, len(reply.events)) if call.asks("slow") else 0
        for chunk in _zipped(reply.events) if zipped else reply.events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            if pause:
                self.server.provider.stopping.wait(pause)
        if reply.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _zipped(events: Any) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, wbits=31)
    for event in events:
        yield compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


def truth_line(truth: Truth) -> str:
    """A request's truth as a line of JSON."""
    values = truth._asdict()
    for key in ("usage", "reported"):
        billed = values[key]
        values[key] = None if billed is None else {k: v for k, v in billed._asdict().items() if v is not None}
    return json.dumps(values)
