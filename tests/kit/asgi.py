"""Requests to an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping, Sequence
from typing import Any

from starlette.types import ASGIApp
from tests.kit.backend import Answer

Headers = Sequence[tuple[str, str]]


def send(
    app: ASGIApp,
    method: str,
    path: str,
    body: Any = None,
    headers: Headers = (),
    *,
    key: str = "",
    scheme: str = "http",
) -> Answer:
    """The response to a request. A body that is not bytes is sent as JSON."""
    target, _, query = path.partition("?")
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = [(name.lower().encode(), value.encode()) for name, value in headers]
    names = {name for name, _ in sent}
    if key:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    if body is not None and b"content-type" not in names:
        sent.append((b"content-type", b"application/json"))
    if b"host" not in names:
        sent.append((b"host", b"127.0.0.1:4318"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": sent,
        "server": ("127.0.0.1", 4318),
        "client": None,
        "state": {"peer_address": "192.0.2.1"},
    }
    messages: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def keep(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive, keep))
    start = messages[0]
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(message.get("body", b"") for message in messages[1:]))
