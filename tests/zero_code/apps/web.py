"""A web application, as WSGI (`application`) and as ASGI (`asgi`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from shop import calls


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    calls()
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"done"]


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Awaitable[None]]) -> None:
    if scope["type"] != "http":
        return
    calls()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"done"})
