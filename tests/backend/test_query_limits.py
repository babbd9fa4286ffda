"""A query that exceeds its limits of time or memory may be sent again."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from infraprism.backend.api import errors
from infraprism.backend.store import StoreError


@pytest.mark.parametrize(
    ("engine_code", "code", "retry_after"),
    [(159, "query_too_large", "5"), (241, "query_too_large", "5"), (243, "store_unavailable", None)],
)
def test_a_query_that_needs_too_much_gets_503_with_a_retry_delay(
    engine_code: int, code: str, retry_after: str | None
) -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/query")
    async def query() -> None:
        raise StoreError(engine_code)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return await client.get("/query")

    answer = asyncio.run(get())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    assert answer.headers.get("retry-after") == retry_after
