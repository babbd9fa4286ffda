"""The HTTP connections: how many there may be, and how long each may take to send a request or to read a response.

uvicorn limits neither the time of the headers nor the number of connections that send none. What it reads at once takes
up to a second if it has many small parts, and all other connections wait. Here a read is small while that is possible.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from infraprism.backend.api.client_address import PEER
from infraprism.backend.limits import Limits

_READ_BYTES: Final = 2**18
"""What is read at once of a body of known length, which has no parts."""
_SMALL_CHUNKS: Final = "the body has too many small chunks: send chunks of at least {} bytes"


class Open(Protocol):
    """What can be closed at once: an HTTP connection, or a TLS handshake."""

    def end(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """The open HTTP connections. If there are too many, the one that has waited longest for a request is closed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._limit = limits.http_connection_limit()
        self._open: set[Open] = set()
        self._waiting: dict[Open, None] = {}
        self.buffer: Final = memoryview(bytearray(_READ_BYTES))
        """For a read of any connection, which is processed before the next one."""

    def opened(self, connection: Open) -> bool:
        """Count a connection. Returns False if it must be closed, since all others are in use."""
        while len(self._open) >= self._limit:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.closed(oldest)
            oldest.end()
        self._open.add(connection)
        return True

    def closed(self, connection: Open) -> None:
        """Count a connection no longer."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Open, *, waits: bool) -> None:
        """Record whether a connection waits for a request."""
        if not waits or connection not in self._open:
            self._waiting.pop(connection, None)
        else:
            self._waiting.setdefault(connection)

    def end_handshakes(self) -> None:
        """Close what is no HTTP connection yet."""
        for connection in list(self._open):
            if not isinstance(connection, HttpConnection):
                connection.end()

    def end_all(self) -> None:
        """Close all connections at once."""
        for connection in list(self._open):
            connection.end()


class _Parser(h11.Connection):
    """Parses requests. A body in many small chunks is invalid: each costs as much as kilobytes of a large one."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, limits.header_bytes)
        self._limits = limits
        self._chunks = self._body_bytes = 0
        self.reads_parts = True
        """Whether the next bytes may have many parts: headers, chunks, or trailers."""
        self.has_small_chunks = False

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        """See h11.Connection."""
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            self._chunks += event.chunk_start
            if self._chunks > self._limits.chunk_count + self._body_bytes // self._limits.chunk_bytes:
                self.has_small_chunks = True
                raise h11.RemoteProtocolError(_SMALL_CHUNKS)
        elif isinstance(event, h11.Request):
            self._chunks = self._body_bytes = 0
            self.reads_parts = all(name != b"content-length" for name, _ in event.headers)
        elif isinstance(event, h11.EndOfMessage):
            self.reads_parts = True
        return event


class HttpConnection(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's protocol with deadlines. An instance is made by the class that `protocol` returns."""

    _connections: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits: Final = self._connections.limits
        self._parser: Final = _Parser(self._limits)
        self.conn = self._parser
        self._request_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._discarded_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(cast("asyncio.Transport", transport))
        # The address of a client is neither logged nor stored. Only `client_address` reads it.
        address = self.client[0] if self.client else ""
        self.client, self.app_state = None, {**self.app_state, PEER: address}
        if self._connections.opened(self):
            self._update()
        else:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._connections.closed(self)
        for timer in (self._request_deadline, self._write_deadline):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the size of a read is decided here
        """See asyncio.BufferedProtocol."""
        return self._connections.buffer[: self._limits.header_bytes if self._parser.reads_parts else _READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self.data_received(bytes(self._connections.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process bytes of the connection."""
        if self._is_answered() and self.conn.their_state is h11.SEND_BODY:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > self._limits.discarded_bytes:
                self.end()
                return
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        self._discarded_bytes = 0
        super().on_response_complete()
        if self.transport.is_closing():
            self.pause_writing()  # the client may not have read the response
        elif self.conn.their_state is h11.SEND_BODY:
            self._unset_keepalive_if_required()
            self._update()
        else:
            self._connections.waits(self, waits=self._is_answered())

    def send_400_response(self, msg: str) -> None:
        """See H11Protocol."""
        if self.cycle is not None and self.cycle.response_started:
            self.end()  # the invalid bytes follow in a body that was answered before its end
            return
        if self.cycle is not None:
            # The application must not send another response.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        is_known = self._parser.has_small_chunks
        super().send_400_response(_SMALL_CHUNKS.format(self._limits.chunk_bytes) if is_known else msg)
        self.pause_writing()

    def timeout_keep_alive_handler(self) -> None:
        """See H11Protocol."""
        super().timeout_keep_alive_handler()
        self.pause_writing()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self._limits.write_timeout_s, self.end)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        if self._write_deadline is not None and not self.transport.is_closing():
            self._write_deadline.cancel()
            self._write_deadline = None

    def end(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _update(self) -> None:
        """Start or end the time in which the headers of a request must arrive."""
        waits = self.cycle is None or self.cycle.response_complete
        if not waits and self._request_deadline is not None:
            self._request_deadline.cancel()
            self._request_deadline = None
        elif waits and self._request_deadline is None:
            self._request_deadline = self.loop.call_later(self._limits.header_timeout_s, self.end)
        self._connections.waits(self, waits=waits)


def protocol(connections: Connections) -> type[HttpConnection]:
    """The class of the connections of one server."""

    class Connection(HttpConnection):
        _connections = connections

    return Connection
