"""The address of a ClickHouse server or cluster: `clickhouse://user:password@host:8443,host:8443/database`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

SCHEME: Final = "clickhouse"
_FORM: Final = "clickhouse://user:password@host:8443/database"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_SECURE_PORT: Final = 8443
_PLAIN_PORT: Final = 8123
_BOOLEANS: Final = {"true": True, "false": False}


class AddressError(ValueError):
    """The text is no valid address. The message contains no part of it."""


@dataclass(frozen=True)
class ServerAddress:
    """Hosts with ports, and how to log in. `cluster` is the name of the cluster that has the tables, if any.

    Several hosts are replicas of each other: the first that answers is used. `is_secure`: HTTPS.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    database: str
    is_secure: bool
    cluster: str | None

    def __str__(self) -> str:
        """The address without user and password."""
        return f"{SCHEME}://{','.join(f'{host}:{port}' for host, port in self.hosts)}/{self.database}"


def parse(text: str) -> ServerAddress:
    """The address of a URL. Options: `?secure=false` (HTTP), `?cluster=NAME`. Raises AddressError."""
    try:
        parts = urlsplit(text)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query), max_num_fields=10)
    except ValueError:
        raise AddressError(f"the address is not {_FORM}") from None
    if parts.scheme != SCHEME:
        raise AddressError(f"the address is not {_FORM}")
    if unknown := options.keys() - {"secure", "cluster"}:
        raise AddressError(f"the address has {len(unknown)} unknown options: secure and cluster are known")
    secure = _BOOLEANS.get(options.get("secure", ["true"])[-1])
    if secure is None:
        raise AddressError("the option secure of the address is neither true nor false")
    credentials, separator, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    database = unquote(parts.path.removeprefix("/"))
    cluster = options.get("cluster", [None])[-1]
    for name in (database, cluster or "cluster"):
        if not _NAME.fullmatch(name):
            raise AddressError("the names of database and cluster have letters, digits and _")
    if not separator or not user:
        raise AddressError(f"the address has no user: {_FORM}")
    port = _SECURE_PORT if secure else _PLAIN_PORT
    found = tuple(_host(host, port) for host in hosts.split(","))
    if len(found) > 1 and cluster is None:
        raise AddressError("several hosts need ?cluster=NAME: without replication each would have other events")
    return ServerAddress(found, unquote(user), unquote(password), database, secure, cluster)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        number = parts.port or port
    except ValueError:
        raise AddressError("a port of the address is not a number up to 65535") from None
    if not parts.hostname or parts.path or "@" in parts.netloc:
        raise AddressError("a host of the address is empty")
    return parts.hostname, number
