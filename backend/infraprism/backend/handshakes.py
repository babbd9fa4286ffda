"""The TLS handshakes of HTTP connections. They count as connections, and have the time of headers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from infraprism.backend.connections import Connections, HttpConnection


class Handshake(asyncio.Protocol):
    """A connection until its handshake is complete. `made` creates the protocol of the HTTP connection then."""

    def __init__(self, connections: Connections, context: ssl.SSLContext, made: Callable[[], HttpConnection]) -> None:
        self._connections = connections
        self._context = context
        self._made = made
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()  # `start_tls` reads from the first byte on
        if self._connections.opened(self):
            self._connections.waits(self, waits=True)
            self._task = asyncio.get_running_loop().create_task(self._complete(self._transport))
        else:
            self.end()

    async def _complete(self, transport: asyncio.Transport) -> None:
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._connections.limits.header_timeout_s,
            )
        except OSError:  # also an error of TLS, and the end of the time
            encrypted = None
        finally:
            self._connections.closed(self)
        if encrypted is None:
            transport.abort()
        elif not self._is_lost:
            protocol = self._made()
            encrypted.set_protocol(protocol)
            protocol.connection_made(encrypted)
            if self._received:
                protocol.data_received(bytes(self._received))

    def data_received(self, data: bytes) -> None:
        """Keep what arrived together with the end of the handshake, which is at most one read."""
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._is_lost = True

    def end(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def behind_handshakes(
    connections: Connections, context: ssl.SSLContext, made: type[HttpConnection]
) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of a new connection, as uvicorn calls it."""

    def make(**named: object) -> asyncio.Protocol:
        return Handshake(connections, context, lambda: made(**named))

    return make
