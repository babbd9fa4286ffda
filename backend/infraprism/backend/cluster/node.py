"""Starts the store of a node of a cluster."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts import Accounts
from infraprism.backend.cluster import server_address
from infraprism.backend.cluster.cluster_writer import ClusterWriter
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.cluster.leases import Leases
from infraprism.backend.cluster.server import ServerError
from infraprism.backend.cluster.server_address import AddressError, ServerAddress
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.event_inserter import Cutoff, Refusing
from infraprism.backend.preflight import StartupError
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.settings import Settings
from infraprism.backend.store import StoreError

_ALL_ADDRESSES: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # compared, not bound


def address_of(settings: Settings) -> ServerAddress:
    """The address of `--store`. Raises StartupError."""
    assert settings.store is not None
    try:
        return server_address.parse(settings.store)
    except AddressError as error:
        raise StartupError(f"--store: {error}") from None


def start(
    settings: Settings, accounts: Accounts, port: int, stack: AsyncExitStack, *, cutoff_ms: Cutoff, refusals: Refusing
) -> tuple[ClusterDatabase, BatchWriter]:
    """The store and its writer; the stack closes the store. Raises StartupError."""
    address = address_of(settings)
    if settings.accounts is None:
        raise StartupError("--store needs --accounts postgresql://...: it has the leases of the nodes")
    host = socket.gethostname() if settings.host in _ALL_ADDRESSES else settings.host
    scheme = "http" if settings.tls_cert is None else "https"
    own = (settings.node_address or f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")
    node = secrets.token_hex(8)
    try:
        leases = Leases(settings.accounts, node, own, settings.shards, settings.lease_s)
        database = ClusterDatabase(address, leases, node, settings.data_dir / "stored_ids")
    except ServerError as error:
        raise StartupError(str(error)) from None
    except StoreError as error:
        raise StartupError(f"{address} cannot be used (code {error.code})") from None
    except DatabaseUnavailableError as error:
        raise StartupError(f"PostgreSQL (--accounts) cannot be used: {error}") from None
    stack.callback(database.close)
    return database, ClusterWriter(database, accounts.secret("cluster"), cutoff_ms, refusals)


def receiver_of(writer: BatchWriter) -> Callable[[Request], Awaitable[Response]] | None:
    """What handles the requests of other nodes; None without a cluster."""
    return writer.receive if isinstance(writer, ClusterWriter) else None
