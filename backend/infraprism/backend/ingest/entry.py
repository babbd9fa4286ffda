"""Frames a request body as an `Entry` message (entry.proto) without copying or parsing the body."""

from __future__ import annotations

from typing import Final

_ACCOUNT: Final = b"\x0a"
_REQUEST: Final = b"\x10"
_USAGE_DETAIL: Final = b"\x18\x01"
_BODY: Final = b"\x22"


def framed(account_id: str, request: int, body: bytes, *, usage_detail: bool) -> tuple[bytes, bytes]:
    """The length-prefixed Entry of a body, in two parts: everything before the body, and the body itself."""
    account = account_id.encode()
    before = b"".join(
        (
            _ACCOUNT,
            _varint(len(account)),
            account,
            _REQUEST,
            _varint(request),
            _USAGE_DETAIL if usage_detail else b"",
            _BODY,
            _varint(len(body)),
        )
    )
    return _varint(len(before) + len(body)) + before, body


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:  # noqa: PLR2004  # seven bits per byte
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
