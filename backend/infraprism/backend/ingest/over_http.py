"""OTLP/HTTP: `POST /v1/traces`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts.accounts import only_header
from infraprism.backend.ingest import otlp_responses
from infraprism.backend.ingest.batch_writer import RejectedSpans
from infraprism.backend.ingest.receiver import MAX_BODY_BYTES, Encoding, Receiver, Reservation
from infraprism.backend.ingest.rejections import (
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHENTICATED,
    UNREADABLE,
    WRONG_ENCODING,
    WRONG_TYPE,
    RejectedError,
    Rejection,
)
from infraprism.backend.limits import Limits

_ENCODINGS: Final[dict[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_CONTENT_TYPES: Final[dict[Encoding, str]] = {encoding: name for name, encoding in _ENCODINGS.items()}
_MAX_DRAINED_BYTES: Final = 4 * MAX_BODY_BYTES
_DRAIN_TIMEOUT_S: Final = 10


async def export(request: Request, receiver: Receiver, limits: Limits) -> Response:
    """Handle one export request. The response has the encoding of the request."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = _ENCODINGS.get(content_type)
    body = _Body(request, limits)
    try:
        rejected = await _receive(body, request.headers, receiver, encoding)
    except RejectedError as error:
        if error.rejection not in (UNAUTHENTICATED, TOO_SLOW):
            await body.drain()
        return _failure(error.rejection, encoding or "protobuf")
    used = encoding or "protobuf"
    return Response(otlp_responses.serialize(otlp_responses.success(rejected), used), media_type=_CONTENT_TYPES[used])


def _failure(rejection: Rejection, encoding: Encoding) -> Response:
    response = Response(
        otlp_responses.serialize(otlp_responses.failure(rejection), encoding),
        rejection.http_status,
        media_type=_CONTENT_TYPES[encoding],
    )
    if rejection.retry_after_s is not None:
        response.headers["retry-after"] = str(rejection.retry_after_s)
    if rejection is UNAUTHENTICATED:
        response.headers["www-authenticate"] = "Bearer"
    if rejection is TOO_SLOW:
        response.headers["connection"] = "close"
    return response


async def _receive(body: _Body, headers: Headers, receiver: Receiver, encoding: Encoding | None) -> RejectedSpans:
    account = receiver.authenticate(only_header(headers.getlist("authorization")))
    if encoding is None:
        raise RejectedError(WRONG_TYPE)
    compression = headers.get("content-encoding", "identity").strip().lower()
    if compression not in ("identity", "gzip"):
        raise RejectedError(WRONG_ENCODING)
    content_length = headers.get("content-length", "0")
    if content_length.isdecimal() and int(content_length) > MAX_BODY_BYTES:
        raise RejectedError(TOO_LARGE)
    with receiver.reservation(account) as reservation:
        content = await body.read(reservation)
        return await receiver.receive(
            account, content, reservation, encoding=encoding, compressed=compression == "gzip"
        )


class _Body:
    """The body of a request, read in chunks."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._receive = request.receive
        self._limits = limits
        self._ended = False

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._ended = True
            raise RejectedError(UNREADABLE)
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def read(self, reservation: Reservation) -> bytes:
        """The complete body. Raises RejectedError if it is too large or too slow, or the client has disconnected."""
        chunks = []
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._limits.body_timeout_s
        try:
            while not self._ended:
                async with asyncio.timeout_at(min(ends_at, loop.time() + self._limits.chunk_timeout_s)):
                    chunk = await self._chunk()
                if reservation.size + len(chunk) > MAX_BODY_BYTES:
                    raise RejectedError(TOO_LARGE)
                reservation.add(len(chunk))
                chunks.append(chunk)
        except TimeoutError:
            raise RejectedError(TOO_SLOW) from None
        return b"".join(chunks)

    async def drain(self) -> None:
        """Read and discard the rest of a rejected body, within limits, since most clients read no response before."""
        remaining = _MAX_DRAINED_BYTES
        with contextlib.suppress(RejectedError, TimeoutError):
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                while remaining > 0 and not self._ended:
                    remaining -= len(await self._chunk())
