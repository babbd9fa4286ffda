"""The body of a REST request is limited, since it is kept in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from infraprism.backend.api import errors
from infraprism.backend.api.errors import MAX_BODY_BYTES
from infraprism.backend.request_framing import BodyLimitMiddleware


class Body(BaseModel):
    text: str


def answer(*parts: bytes) -> tuple[int, Any]:
    """The status and the body of the response to a POST request with these parts."""
    app = FastAPI()
    errors.install(app)
    app.add_middleware(BodyLimitMiddleware)

    @app.post("/v1/things")
    def add(body: Body) -> int:
        return len(body.text)

    messages: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
    )
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/things",
        "raw_path": b"/v1/things",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


def test_a_body_of_the_limit_is_accepted_and_a_larger_one_is_a_problem() -> None:
    text = b"x" * (MAX_BODY_BYTES - len(b'{"text":""}'))
    assert answer(b'{"text":"', text, b'"}') == (200, len(text))
    status, body = answer(b'{"text":"', text, b'x"}')
    assert (status, body["type"]) == (413, "/errors/too_large")


def test_a_body_that_is_no_json_is_a_problem() -> None:
    for text in (b"{", b"\xff", b""):
        status, body = answer(text)
        assert status == 400
        assert body["type"] in {"/errors/invalid_request", "/errors/invalid_parameter"}
