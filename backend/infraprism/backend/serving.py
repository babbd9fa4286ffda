"""Starts and stops the parts of the server in order: the store, the writers, the gRPC and the HTTP listener."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import uvicorn

from infraprism.backend.accounts import Accounts
from infraprism.backend.api.health import Health
from infraprism.backend.http_app import Services, application
from infraprism.backend.ingest import over_grpc
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.backend.store import StoreError
from infraprism.backend.store.embedded import EmbeddedDatabase

_GRACE_S: Final = 15
_READERS: Final = 4
_GC_THRESHOLDS: Final = (20_000, 20, 50)
"""The calls in memory are up to a million tuples without cycles. With Python's default thresholds the garbage collector
takes a quarter of the CPU time of converting spans."""


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


class Serving(NamedTuple):
    """A running server: its addresses as text, and the wait for its writer, which ends only by a fault."""

    addresses: str
    writer_ended: Callable[[], Awaitable[None]]


@asynccontextmanager
async def serve(settings: Settings, accounts: Accounts, listening: socket.socket) -> AsyncIterator[Serving]:
    """Serve inside the block. At its end all accepted requests are stored. Raises StartupError."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    async with AsyncExitStack() as stack:
        try:
            database = EmbeddedDatabase(settings.data_dir / "store", settings.reserve_bytes)
        except StoreError as error:
            raise StartupError(
                f"the database in {settings.data_dir} cannot be opened (engine code {error.code}):"
                " check the disk, or choose another --data-dir"
            ) from None
        stack.callback(database.close)
        writer = BatchWriter(database)
        stack.push_async_callback(writer.close)
        try:
            recent_calls = RecentCalls(settings.data_dir / "calls.sqlite", database)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StartupError(
                f"{settings.data_dir}/calls.sqlite cannot be opened ({error}): move it away and start again."
                " It only recognises calls that are sent again; no event is lost"
            ) from None
        receiver = Receiver(accounts, writer, recent_calls, settings.max_waiting_bytes)
        stack.push_async_callback(receiver.close)
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="infraprism-rest")
        stack.callback(readers.shutdown)
        health = Health(database, lambda: writer.is_alive)
        stack.callback(health.close)
        grpc_port = await _start_grpc(settings, receiver, stack)
        await _start_http(Services(accounts, database, receiver, readers, health), listening, stack)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        addresses = f"OTLP/HTTP and REST on http://{host}:{listening.getsockname()[1]}, OTLP/gRPC on {host}:{grpc_port}"
        yield Serving(addresses, writer.ended)


async def _start_grpc(settings: Settings, receiver: Receiver, stack: AsyncExitStack) -> int:
    server = over_grpc.server(receiver)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port: int = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError:
        raise StartupError(
            f"port {settings.grpc_port} of {settings.host} is in use: choose another --grpc-port"
        ) from None
    await server.start()
    stack.push_async_callback(server.stop, _GRACE_S)
    return port


async def _start_http(services: Services, listening: socket.socket, stack: AsyncExitStack) -> None:
    server = _HttpServer(
        uvicorn.Config(
            application(services),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))

    async def stop() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    await server.accepting.wait()
