"""A query that exceeds its limits of time or memory may be sent again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

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
    handler: Any = app.exception_handlers[StoreError]
    answer = asyncio.run(handler(None, StoreError(engine_code)))
    assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (503, code)
    assert answer.headers.get("retry-after") == retry_after
