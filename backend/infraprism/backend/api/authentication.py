"""Authentication and rate limiting of the REST API, as ASGI middleware, and the scopes that routes require."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infraprism.backend.accounts import AcceptedKey, Account, Accounts, permissions
from infraprism.backend.accounts.accounts import bearer_token, only_header
from infraprism.backend.api.errors import ApiError, error_response
from infraprism.backend.api.rate_limit import RateLimit
from infraprism.backend.regions import NO_REGIONS, Regions
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.backend.relational import DatabaseUnavailableError

_MOVING_S: Final = 60
_OTLP_PATHS: Final = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})
_log = logging.getLogger(__name__)


class AuthenticationMiddleware:
    """Requires an API key under /v1/, except for the OTLP paths, which authenticate themselves.

    Sets `request.state.key` and adds the rate-limit headers to the response, also if the application fails. `clock`
    returns Unix seconds. An account of another of the `regions` gets 421 with the URL of its region.
    """

    def __init__(
        self,
        app: ASGIApp,
        accounts: Accounts,
        clock: Callable[[], float] = time.time,
        *,
        regions: Regions = NO_REGIONS,
    ) -> None:
        self._app = app
        self._regions = regions
        self._accounts = accounts
        self._rate_limit = RateLimit(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/") or scope["path"] in _OTLP_PATHS:
            await self._app(scope, receive, send)
            return
        header = only_header(Headers(scope=scope).getlist("authorization"))
        try:
            key = self._accounts.find_key(bearer_token(header))
        except DatabaseUnavailableError:
            response = error_response(503, "store_unavailable", "the accounts cannot be read: try again later")
            await response(scope, receive, send)
            return
        if key is None:
            response = error_response(
                401, "unauthenticated", "send the key of your account as `Authorization: Bearer ip-...`"
            )
            response.headers["www-authenticate"] = "Bearer"
            await response(scope, receive, send)
            return
        if (elsewhere := self._regions.elsewhere(key.account.region)) is not None:
            await _refusal(key.account, elsewhere)(scope, receive, send)
            return
        await self._limited(key, scope, receive, send)

    async def _limited(self, key: AcceptedKey, scope: Scope, receive: Receive, send: Send) -> None:
        quota = self._rate_limit.count(key.account)
        is_started = False

        async def send_with_quota(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
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
        scope.setdefault("state", {})["key"] = key
        try:
            await self._app(scope, receive, send_with_quota)
        except Exception as error:
            if is_started:
                raise
            # Answered here: the handler of the framework is outside of this middleware, and adds no headers. The
            # message of the exception may contain a value.
            _log.error("a request failed: %s", type(error).__name__)
            response = error_response(500, "internal_error", "the server has failed: try again later")
            await response(scope, receive, send_with_quota)


def _refusal(account: Account, elsewhere: str) -> Response:
    if SEPARATOR not in (account.region or ""):
        return error_response(421, "wrong_region", elsewhere)
    response = error_response(503, "account_moving", elsewhere)
    response.headers["retry-after"] = str(_MOVING_S)
    return response


def _requiring(scope: permissions.Scope) -> Callable[[Request], AcceptedKey]:
    def required(request: Request) -> AcceptedKey:
        key: AcceptedKey = request.state.key
        if scope not in key.scopes:
            raise ApiError(403, "forbidden", f"the key lacks the scope {scope}: use one that has it")
        return key

    return required


_reading: Final = _requiring("read")
_administering: Final = _requiring("admin")


def reading_account(request: Request) -> Account:
    """The account of a request with the scope `read`. Raises ApiError."""
    return _reading(request).account


def administered_account(request: Request) -> Account:
    """The account of a request with the scope `admin`. Raises ApiError."""
    return _administering(request).account


def _actor(request: Request) -> str:
    key: AcceptedKey = request.state.key
    return key.id


def _principal(request: Request) -> permissions.Principal:
    key: AcceptedKey = request.state.key
    return permissions.of_key(key.id, key.scopes)


Caller = Annotated[Account, Depends(reading_account)]
"""The account of a request that reads: its key has the scope `read`."""
AdminCaller = Annotated[Account, Depends(administered_account)]
"""The account of a request that changes the account or its data: its key has the scope `admin`."""
Actor = Annotated[str, Depends(_actor)]
"""The id of the key of a request, for the audit log."""
ByKey = Annotated[permissions.Principal, Depends(_principal)]
"""The key of a request, as the principal of changes."""
