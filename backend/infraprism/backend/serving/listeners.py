"""The gRPC and the HTTP listener."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, cast

import uvicorn

from infraprism.backend.certificate import Certificate
from infraprism.backend.connections import Connections, protocol
from infraprism.backend.handshakes import behind_handshakes
from infraprism.backend.http_app import Services, application
from infraprism.backend.ingest import over_grpc
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.limits import Limits
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings

_ACCEPTED_AT_ONCE: Final = 32
"""Connections, before those beyond the limit are closed: the files of the others must suffice for these."""
_BACKLOG: Final = 1024
_ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not listened on


def base_url(settings: Settings, port: int) -> str:
    """Where browsers reach the server."""
    host = "localhost" if settings.host in _ANY_HOST else _in_url(settings.host)
    return settings.public_url or f"{_scheme(settings)}://{host}:{port}"


def addresses(settings: Settings, port: int, grpc_port: int) -> str:
    """Where the server listens, as text."""
    host = _in_url(settings.host)
    return f"OTLP/HTTP and REST on {_scheme(settings)}://{host}:{port}, OTLP/gRPC on {host}:{grpc_port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _scheme(settings: Settings) -> str:
    return "http" if settings.tls_cert is None else "https"


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own handlers stop both listeners and the store."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listeners:
    """The gRPC and the HTTP listener. They stop at the same time."""

    def __init__(self, limits: Limits, certificate: Certificate | None) -> None:
        self._limits = limits
        self._certificate = certificate
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def start_grpc(self, settings: Settings, receiver: Receiver) -> int:
        """Returns the port. Raises StartupError."""
        server = over_grpc.server(receiver, self._limits)
        try:
            address = f"{_in_url(settings.host)}:{settings.grpc_port}"
            port: int = (
                server.add_insecure_port(address)
                if self._certificate is None
                else server.add_secure_port(address, self._certificate.grpc_credentials())
            )
        except RuntimeError:
            raise StartupError(
                f"port {settings.grpc_port} of {settings.host} is in use: choose another --grpc-port"
            ) from None
        await server.start()
        self._stops.append(lambda: server.stop(self._limits.stop_timeout_s))
        return port

    async def start_http(self, services: Services, listening: socket.socket) -> None:
        """Returns when requests are accepted."""
        connections = Connections(self._limits)
        plain = protocol(connections)
        made = plain if self._certificate is None else behind_handshakes(connections, self._certificate.context, plain)
        server = _HttpServer(
            uvicorn.Config(
                application(services),
                http=cast("type[asyncio.Protocol]", made),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                backlog=_ACCEPTED_AT_ONCE,
                timeout_keep_alive=self._limits.idle_timeout_s,
                h11_max_incomplete_event_size=self._limits.header_bytes,
                timeout_graceful_shutdown=self._limits.stop_timeout_s,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listening]))

        async def stop() -> None:
            connections.end_handshakes()
            server.should_exit = True
            await task
            connections.end_all()

        self._stops.append(stop)
        await server.accepting.wait()
        listening.listen(_BACKLOG)  # asyncio has set it to the number of connections that it accepts at once

    async def stop(self) -> None:
        """Accept no more requests, and wait for the open ones, at most `stop_timeout_s`."""
        await asyncio.gather(*(stop() for stop in self._stops))
