"""The rate limit of the REST API, with an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from tests.kit.backend import Backend

from infraprism.backend.accounts import Accounts
from infraprism.backend.api.authentication import AuthenticationMiddleware

MINUTE_S = 60


class Clock:
    """A clock that tests set."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = Accounts(tmp_path / "accounts.sqlite")
    yield opened
    opened.close()


def _get(middleware: AuthenticationMiddleware, path: str, key: str) -> tuple[int, dict[str, str]]:
    """The status and headers of a GET request to the application."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"authorization", f"Bearer {key}".encode())],
    }
    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_requests_above_the_limit_of_the_plan_are_rejected_until_the_next_minute(accounts: Accounts) -> None:
    clock = Clock(1_790_000_000.5)
    middleware = AuthenticationMiddleware(Response("ok"), accounts, clock)
    key = accounts.add_key(accounts.add(plan="free").id)
    next_minute_s = (1_790_000_000 // MINUTE_S + 1) * MINUTE_S

    responses = [_get(middleware, "/v1/me", key) for _ in range(61)]
    assert [status for status, _ in responses] == [200] * 60 + [429]
    headers = [found for _, found in responses]
    assert [int(found["x-ratelimit-remaining"]) for found in headers] == [*range(59, -1, -1), 0]
    assert {found["x-ratelimit-limit"] for found in headers} == {"60"}
    assert {int(found["x-ratelimit-reset"]) for found in headers} == {next_minute_s}
    assert int(headers[-1]["retry-after"]) == next_minute_s - 1_790_000_000

    clock.now_s = next_minute_s - 0.001
    status, found = _get(middleware, "/v1/me", key)
    assert (status, found["retry-after"]) == (429, "1")
    clock.now_s = next_minute_s
    status, found = _get(middleware, "/v1/me", key)
    assert (status, found["x-ratelimit-remaining"]) == (200, "59")


def test_accounts_have_separate_limits_and_otlp_requests_have_none(accounts: Accounts) -> None:
    middleware = AuthenticationMiddleware(Response("ok"), accounts, Clock(0.0))
    used, unused = (accounts.add_key(accounts.add(plan="free").id) for _ in range(2))
    for _ in range(61):
        _get(middleware, "/v1/me", used)
    assert _get(middleware, "/v1/me", used)[0] == 429
    assert _get(middleware, "/v1/me", unused)[0] == 200
    status, headers = _get(middleware, "/v1/traces", used)
    assert status == 200
    assert "x-ratelimit-limit" not in headers


def test_responses_of_the_server_have_the_rate_limit_headers(backend: Backend) -> None:
    key = backend.add_account(plan="free")
    response = backend.get("/v1/me", key)
    assert (response.headers["X-RateLimit-Limit"], response.headers["X-RateLimit-Remaining"]) == ("60", "59")
    assert int(response.headers["X-RateLimit-Reset"]) % MINUTE_S == 0
    assert "X-RateLimit-Limit" in backend.get("/v1/unknown", key).headers
    assert backend.export(key=key).rejected == 0
