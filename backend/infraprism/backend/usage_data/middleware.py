"""Records the requests to the REST API, after their responses."""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infraprism.backend.usage_data.usage_data import Request, UsageData

_FAILED: Final = 500
_NO_ROUTE: Final = "none"


class UsageMiddleware:
    """Records each request with a valid key. It is within the authentication, and passes everything on unchanged."""

    def __init__(self, app: ASGIApp, usage: UsageData) -> None:
        self._app = app
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        key = scope.get("state", {}).get("key") if scope["type"] == "http" else None
        if key is None:
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = _FAILED

        async def send_recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            # The template of the route, such as /v1/events/{event_id}: the path may have an id.
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            duration_ms = round((time.perf_counter() - began_s) * 1000)
            method = scope["method"] if route != _NO_ROUTE else _NO_ROUTE
            self._usage.record_request(
                Request(key.account.id, self._usage.now(), key.id, method, route, status, duration_ms)
            )
            if status >= _FAILED:
                self._usage.record_error(f"{method} {route}", "response", str(status))
