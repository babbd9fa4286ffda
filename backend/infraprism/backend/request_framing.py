"""Refuses HTTP requests with too many headers, without one clear length, or too large, as ASGI middleware."""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infraprism.backend.api.errors import MAX_BODY_BYTES, error_response
from infraprism.backend.limits import Limits

_LINE: Final = len(b"GET  HTTP/1.1\r\n")
_SEPARATORS: Final = len(b": \r\n")


class RequestFramingMiddleware:
    """Answers such a request and closes the connection, so that nothing after the headers counts as another request."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = _LINE + len(scope["raw_path"]) + len(scope["query_string"])
        size += sum(len(name) + len(value) + _SEPARATORS for name, value in headers)
        names = [name for name, _ in headers]
        if size > self._limits.header_bytes or len(headers) > self._limits.header_count:
            response = error_response(431, "headers_too_large", "the headers of the request are too large")
        elif b"transfer-encoding" in names and b"content-length" in names:
            response = error_response(
                400, "invalid_request", "send either Content-Length or Transfer-Encoding, and not both"
            )
        else:
            await self._app(scope, receive, send)
            return
        response.headers["connection"] = "close"
        await response(scope, receive, send)


class BodyLimitMiddleware:
    """Limits the body of a REST request to `MAX_BODY_BYTES`, since it is kept in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/", "/auth/", "/billing/")):
            await self._app(scope, receive, send)
            return
        size = 0

        async def receive_part() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_part, send)
