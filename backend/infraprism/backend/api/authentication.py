"""Authentication and rate limiting of the REST API, as ASGI middleware."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infraprism.backend.accounts import Account, Accounts, Key
from infraprism.backend.accounts.accounts import bearer_token, only_header
from infraprism.backend.api.errors import error_response
from infraprism.backend.api.rate_limit import RateLimit
from infraprism.backend.relational import DatabaseUnavailableError

_OTLP_PATHS: Final = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})


class AuthenticationMiddleware:
    """Requires an API key under /v1/, except for the OTLP paths, which authenticate themselves.

    Sets `request.state.account` and adds the rate-limit headers to the response. `clock` returns Unix seconds.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._accounts = accounts
        self._rate_limit = RateLimit(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/") or scope["path"] in _OTLP_PATHS:
            await self._app(scope, receive, send)
            return
        header = only_header(Headers(scope=scope).getlist("authorization"))
        key = bearer_token(header)
        try:
            account = self._accounts.find_by_key(key)
        except DatabaseUnavailableError:
            response = error_response(503, "store_unavailable", "the accounts cannot be read: try again later")
            await response(scope, receive, send)
            return
        if account is None:
            response = error_response(
                401, "unauthenticated", "send the key of your account as `Authorization: Bearer ip-...`"
            )
            response.headers["www-authenticate"] = "Bearer"
            await response(scope, receive, send)
            return
        quota = self._rate_limit.count(account)

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-RateLimit-Limit"] = quota.limit_text
                headers["X-RateLimit-Remaining"] = quota.remaining_text
                headers["X-RateLimit-Reset"] = str(quota.reset_s)
            await send(message)

        if quota.is_exceeded:
            response = error_response(
                429, "rate_limited", f"the plan allows {quota.limit} requests a minute: wait for X-RateLimit-Reset"
            )
            response.headers["retry-after"] = str(quota.retry_after_s)
            await response(scope, receive, send_with_quota)
            return
        scope.setdefault("state", {}).update(account=account, actor=Key.id_of(key))
        await self._app(scope, receive, send_with_quota)


def authenticated_account(request: Request) -> Account:
    """The account of a request that passed the middleware."""
    account: Account = request.state.account
    return account


def _actor(request: Request) -> str:
    actor: str = request.state.actor
    return actor


Caller = Annotated[Account, Depends(authenticated_account)]
"""The account of a request that reads."""
AdminCaller = Annotated[Account, Depends(authenticated_account)]
"""The account of a request that changes the account or its data."""
Actor = Annotated[str, Depends(_actor)]
"""The id of the key of a request, for the audit log."""
