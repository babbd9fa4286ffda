"""OTLP/HTTP: `POST /v1/traces`."""

from __future__ import annotations

from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from infraprism.backend.ingest import answers
from infraprism.backend.ingest.batches import Rejected
from infraprism.backend.ingest.intake import MAX_BODY_BYTES, Encoding, Intake, Reservation
from infraprism.backend.ingest.refusal import (
    TOO_LARGE,
    UNAUTHENTICATED,
    UNREADABLE,
    WRONG_ENCODING,
    WRONG_TYPE,
    Reason,
    RefusedError,
)

_ENCODINGS: Final[dict[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_CONTENT_TYPES: Final[dict[Encoding, str]] = {encoding: name for name, encoding in _ENCODINGS.items()}


async def export(request: Request, intake: Intake) -> Response:
    """Answer one export request, in the encoding it came in."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = _ENCODINGS.get(content_type)
    try:
        rejected = await _taken(request, intake, encoding)
    except RefusedError as refused:
        return _refusal(refused.reason, encoding or "protobuf")
    shown = encoding or "protobuf"
    return Response(answers.encoded(answers.success(rejected), shown), media_type=_CONTENT_TYPES[shown])


def _refusal(reason: Reason, encoding: Encoding) -> Response:
    response = Response(
        answers.encoded(answers.failure(reason), encoding), reason.http_status, media_type=_CONTENT_TYPES[encoding]
    )
    if reason.retry_after_s is not None:
        response.headers["retry-after"] = str(reason.retry_after_s)
    if reason is UNAUTHENTICATED:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _taken(request: Request, intake: Intake, encoding: Encoding | None) -> Rejected:
    account = intake.account(request.headers.get("authorization"))
    if encoding is None:
        raise RefusedError(WRONG_TYPE)
    compression = request.headers.get("content-encoding", "identity").strip().lower()
    if compression not in ("identity", "gzip"):
        raise RefusedError(WRONG_ENCODING)
    with intake.reservation() as room:
        body = await _body(request, room)
        return await intake.take(account, body, room, encoding=encoding, compressed=compression == "gzip")


async def _body(request: Request, room: Reservation) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise RefusedError(TOO_LARGE)
    chunks = []
    try:
        async for chunk in request.stream():
            if room.size + len(chunk) > MAX_BODY_BYTES:
                raise RefusedError(TOO_LARGE)
            room.add(len(chunk))
            chunks.append(chunk)
    except ClientDisconnect:
        raise RefusedError(UNREADABLE) from None
    return b"".join(chunks)
