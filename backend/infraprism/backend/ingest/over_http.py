"""OTLP/HTTP: `POST /v1/traces`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.ingest import otlp_responses
from infraprism.backend.ingest.batch_writer import Rejected
from infraprism.backend.ingest.receiver import MAX_BODY_BYTES, Encoding, Intake, Reservation
from infraprism.backend.ingest.rejections import (
    TOO_LARGE,
    UNAUTHENTICATED,
    UNREADABLE,
    WRONG_ENCODING,
    WRONG_TYPE,
    Reason,
    RefusedError,
)

_ENCODINGS: Final[dict[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_DRAINED_BYTES: Final = 4 * MAX_BODY_BYTES
_DRAINED_S: Final = 10
_CONTENT_TYPES: Final[dict[Encoding, str]] = {encoding: name for name, encoding in _ENCODINGS.items()}


async def export(request: Request, intake: Intake) -> Response:
    """Answer one export request, in the encoding it came in."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = _ENCODINGS.get(content_type)
    body = _Body(request)
    try:
        rejected = await _taken(body, request.headers, intake, encoding)
    except RefusedError as refused:
        await body.drain()
        return _refusal(refused.reason, encoding or "protobuf")
    shown = encoding or "protobuf"
    return Response(otlp_responses.encoded(otlp_responses.success(rejected), shown), media_type=_CONTENT_TYPES[shown])


def _refusal(reason: Reason, encoding: Encoding) -> Response:
    response = Response(
        otlp_responses.encoded(otlp_responses.failure(reason), encoding),
        reason.http_status,
        media_type=_CONTENT_TYPES[encoding],
    )
    if reason.retry_after_s is not None:
        response.headers["retry-after"] = str(reason.retry_after_s)
    if reason is UNAUTHENTICATED:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _taken(body: _Body, headers: Headers, intake: Intake, encoding: Encoding | None) -> Rejected:
    account = intake.account(headers.get("authorization"))
    if encoding is None:
        raise RefusedError(WRONG_TYPE)
    compression = headers.get("content-encoding", "identity").strip().lower()
    if compression not in ("identity", "gzip"):
        raise RefusedError(WRONG_ENCODING)
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise RefusedError(TOO_LARGE)
    with intake.reservation() as room:
        content = await body.read(room)
        return await intake.take(account, content, room, encoding=encoding, compressed=compression == "gzip")


class _Body:
    """The body of a request as it arrives."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._ended = False

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._ended = True
            raise RefusedError(UNREADABLE)
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def read(self, room: Reservation) -> bytes:
        """All of it. Raises RefusedError where it is too large, or the sender has gone."""
        chunks = []
        while not self._ended:
            chunk = await self._chunk()
            if room.size + len(chunk) > MAX_BODY_BYTES:
                raise RefusedError(TOO_LARGE)
            room.add(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    async def drain(self) -> None:
        """Let the sender of a refused request finish, within bounds: one that is cut off never reads why."""
        left = _DRAINED_BYTES
        with contextlib.suppress(RefusedError, TimeoutError):
            async with asyncio.timeout(_DRAINED_S):
                while left > 0 and not self._ended:
                    left -= len(await self._chunk())
