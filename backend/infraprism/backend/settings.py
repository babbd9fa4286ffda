"""Settings of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infraprism.backend.limits import Limits
from infraprism.backend.networks import Network


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the server.

    Port 0 selects a free port. `max_waiting_bytes` limits the size of the requests that are held in memory until they
    are stored; beyond it requests are rejected with a retryable error (429, RESOURCE_EXHAUSTED).
    `reserve_bytes` of the disk stay free: below it requests are rejected with a retryable error (503, UNAVAILABLE).
    Without it the reserve is 1 GiB, or 5 % of a small disk.
    `tls_cert` and `tls_key` are PEM files; with them both listeners use TLS. `behind_proxy`: a proxy in front of the
    server uses TLS. `client_address_header` is the header in which it passes on the address of the client, if it is one
    of `trusted_proxies`, or if that is empty.
    `smtp` is the URL of the SMTP server, `mail_from` the sender of mails; without them no mail is sent.
    `stripe_prices` is the plan of each price of Stripe: `price_1=growth,price_2=scale`.
    `backup_to` is the URL of the storage in which a backup is made every `backup_every_s` seconds, encrypted to
    `backup_recipients` and kept for `backup_keep_days`.
    `region` is that of the server, and `regions` has the URLs of all (regions.py).
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
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    client_address_header: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    smtp: str | None = field(default=None, repr=False)
    mail_from: str | None = None
    stripe_key: str | None = field(default=None, repr=False)
    stripe_webhook_secret: str | None = field(default=None, repr=False)
    stripe_prices: str | None = None
    region: str | None = None
    regions: Mapping[str, str] = field(default_factory=dict)
    store: str | None = field(default=None, repr=False)
    accounts: str | None = field(default=None, repr=False)
    node_address: str | None = None
    public_url: str | None = None
    shards: int = 16
    lease_s: int = 10
    backup_to: str | None = None
    backup_every_s: float = 86_400
    backup_keep_days: int = 30
    backup_recipients: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.time
