"""The running server: the store, the writer, and the two listeners, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import uvicorn

from infraprism.backend.accounts import Accounts
from infraprism.backend.http_app import Services, application
from infraprism.backend.ingest import over_grpc
from infraprism.backend.ingest.batch_writer import Batches
from infraprism.backend.ingest.receiver import Intake
from infraprism.backend.preflight import StartupError
from infraprism.backend.settings import Settings
from infraprism.backend.span_conversion.recent_calls import Memory
from infraprism.backend.store import StoreError
from infraprism.backend.store.embedded import EmbeddedDatabase

_GRACE_S: Final = 15
_READERS: Final = 4


class _HttpServer(uvicorn.Server):
    """uvicorn, with the signals left to us: they end both listeners, and the store after them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(settings: Settings, accounts: Accounts, listening: socket.socket) -> AsyncIterator[str]:
    """Serve inside the block; yields the addresses as text. At its end what was taken in is finished.

    Raises StartupError.
    """
    async with AsyncExitStack() as stack:
        try:
            database = EmbeddedDatabase(settings.data_dir / "store")
        except StoreError as error:
            raise StartupError(
                f"the database in {settings.data_dir} cannot be opened (engine code {error.code}):"
                " check the disk, or choose another --data-dir"
            ) from None
        stack.callback(database.close)
        batches = Batches(database)
        stack.push_async_callback(batches.close)
        memory = Memory(settings.data_dir / "calls.sqlite", database)
        intake = Intake(accounts, batches, memory, settings.max_waiting_bytes)
        stack.push_async_callback(intake.close)
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="infraprism-rest")
        stack.callback(readers.shutdown)
        grpc_port = await _start_grpc(settings, intake, stack)
        await _start_http(Services(accounts, database, intake, readers), listening, stack)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield f"OTLP/HTTP and REST on http://{host}:{listening.getsockname()[1]}, OTLP/gRPC on {host}:{grpc_port}"


async def _start_grpc(settings: Settings, intake: Intake, stack: AsyncExitStack) -> int:
    server = over_grpc.server(intake)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port: int = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError:
        raise StartupError(
            f"port {settings.grpc_port} of {settings.host} is taken: choose another --grpc-port"
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
