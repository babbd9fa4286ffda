"""How to run the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run the server.

    A port of 0 takes any free one. `max_waiting_bytes` bounds the requests that are held in memory until they are
    stored; beyond it senders are told to come back.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4318
    grpc_port: int = 4317
    max_waiting_bytes: int = 256 * 2**20
