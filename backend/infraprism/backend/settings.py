"""Settings of the server."""

from __future__ import annotations

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
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4318
    grpc_port: int = 4317
    max_waiting_bytes: int = 256 * 2**20
    reserve_bytes: int | None = None
    limits: Limits = field(default_factory=Limits)
