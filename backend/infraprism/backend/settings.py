"""Settings of the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from infraprism.backend.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the server.

    Port 0 selects a free port. `max_waiting_bytes` limits the size of the requests that are held in memory until they
    are stored; beyond it requests are rejected with a retryable error (429, RESOURCE_EXHAUSTED).
    `reserve_bytes` of the disk stay free: below it requests are rejected with a retryable error (503, UNAVAILABLE).
    Without it the reserve is 1 GiB, or 5 % of a small disk.
    `store` is the URL of a ClickHouse server or cluster, `accounts` that of the PostgreSQL database with accounts and
    leases. `node_address` is the URL at which other nodes reach this one. `shards` is the number of shards of a new
    cluster; `lease_s` is how long a node that was killed keeps its shards. `public_url` is where browsers reach the
    server, if that is not where it listens. `clock` returns Unix seconds.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4318
    grpc_port: int = 4317
    max_waiting_bytes: int = 256 * 2**20
    reserve_bytes: int | None = None
    store: str | None = field(default=None, repr=False)
    accounts: str | None = field(default=None, repr=False)
    node_address: str | None = None
    public_url: str | None = None
    shards: int = 16
    lease_s: int = 10
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.time
