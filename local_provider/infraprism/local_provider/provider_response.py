"""One response before it is sent, and the encoding of JSON and server-sent events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from infraprism.local_provider.billing_record import BilledTokens


@dataclass(frozen=True)
class ProviderResponse:
    """A JSON body or the events of a stream, with the values of its billing record.

    `body` is None for a stream. `cut` means that the connection is closed after the last byte, without an end.
    """

    status: int = 200
    body: bytes | None = None
    events: Sequence[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    model: str | None = None
    response_id: str | None = None
    usage: BilledTokens | None = None
    reported: BilledTokens | None = None
    error_code: str | None = None
    service_tier: str | None = None
    cut: bool = False


def encoded(value: object) -> bytes:
    """JSON as the providers write it: compact, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def data_event(value: object) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + encoded(value) + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """A server-sent event named by its `type`."""
    return f"event: {value['type']}\n".encode() + data_event(value)
