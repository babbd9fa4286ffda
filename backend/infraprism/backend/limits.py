"""The limits of connections and of requests that take long. docs/limits.md lists them."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_MAX_FILES: Final = 65_536
_MAX_CONNECTIONS: Final = 4096
_HTTP_SHARE: Final = 2
_GRPC_SHARE: Final = 4


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of connections and of requests that take long. Times are in seconds, sizes in bytes.

    Without `http_connections` and `grpc_connections` they follow from the file limit of the process: half of it and a
    quarter of it, at most 4,096 each. The rest is for the files of the store.
    """

    http_connections: int | None = None
    grpc_connections: int | None = None
    header_timeout_s: float = 10.0
    """From the connection, or from the first byte of a later request, until the headers are complete."""
    idle_timeout_s: int = 5
    """Between a response and the first byte of the next request of an HTTP connection."""
    header_bytes: int = 16_384
    """The request line and all headers."""
    header_count: int = 100
    chunk_count: int = 256
    """Chunks of any size in a body with `Transfer-Encoding: chunked`."""
    chunk_bytes: int = 256
    """The average size of further chunks, at least."""
    body_timeout_s: float = 60.0
    chunk_timeout_s: float = 10.0
    """Between two chunks of a body."""
    discarded_bytes: int = 65_536
    """Of the rest of a body after the response was sent."""
    write_timeout_s: float = 30.0
    """How long a client may read nothing of a response."""
    grpc_handshake_timeout_s: float = 2.0
    grpc_idle_timeout_s: float = 60.0
    grpc_message_timeout_s: float = 30.0
    """From the headers of a call until its message is complete."""
    grpc_calls: int = 2048
    """Authenticated calls at the same time."""
    grpc_unread_calls: int = 512
    """Authenticated calls at the same time whose message is not complete; the oldest is ended first."""
    stop_timeout_s: int = 8
    """How long open requests may delay the end of the server."""

    def http_connection_limit(self) -> int:
        """How many HTTP connections may be open."""
        return self.http_connections or min(_MAX_CONNECTIONS, file_limit() // _HTTP_SHARE)

    def grpc_connection_limit(self) -> int:
        """How many gRPC connections may be open."""
        return self.grpc_connections or min(_MAX_CONNECTIONS, file_limit() // _GRPC_SHARE)


def file_limit() -> int:
    """How many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_FILES if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, or to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a platform may have a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
