"""Who asks, and how often: every REST path of an account needs its key, and tells how many requests are left."""

from __future__ import annotations

import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infraprism.backend.accounts import PLANS, Account, Accounts
from infraprism.backend.accounts.accounts import bearer
from infraprism.backend.accounts.plans import SELF_HOSTED
from infraprism.backend.api.errors import error_response

_MINUTE_S: Final = 60
_OTLP_PATHS: Final = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})


class Access:
    """ASGI middleware: puts the account into the request's state and the rate limit's headers on the response."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts
        self._minute = 0
        self._asked: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/") or scope["path"] in _OTLP_PATHS:
            await self._app(scope, receive, send)
            return
        account = self._accounts.of_key(bearer(Headers(scope=scope).get("authorization")))
        if account is None:
            refusal = error_response(
                401, "unauthenticated", "send the key of your account as `Authorization: Bearer ip-...`"
            )
            refusal.headers["www-authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        limit, left, reset = self._count(account)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-RateLimit-Limit"] = str(limit)
                headers["X-RateLimit-Remaining"] = str(max(left, 0))
                headers["X-RateLimit-Reset"] = str(reset)
            await send(message)

        if left < 0:
            refusal = error_response(
                429, "rate_limited", f"the plan allows {limit} requests a minute: wait for X-RateLimit-Reset"
            )
            refusal.headers["retry-after"] = str(max(1, reset - int(time.time())))
            await refusal(scope, receive, send_counted)
            return
        scope.setdefault("state", {})["account"] = account
        await self._app(scope, receive, send_counted)

    def _count(self, account: Account) -> tuple[int, int, int]:
        """The account's limit, what is left of it, and the Unix second of the next minute, when it starts anew."""
        minute = int(time.time()) // _MINUTE_S
        if minute != self._minute:
            self._minute, self._asked = minute, {}
        asked = self._asked[account.id] = self._asked.get(account.id, 0) + 1
        limit = PLANS.get(account.plan, PLANS[SELF_HOSTED])
        return limit, limit - asked, (minute + 1) * _MINUTE_S


def caller(request: Request) -> Account:
    """The account that asks."""
    account: Account = request.state.account
    return account
