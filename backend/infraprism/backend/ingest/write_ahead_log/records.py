"""The bytes of a log: records with a checksum, one after the other."""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final, NamedTuple

_MARK: Final = b"IPW1"
"""The start of a record and its version. After damage reading continues at the next one."""
_HEADER: Final = Struct("<4sII")
"""The mark, the length of the payload and its CRC-32."""
_PAYLOAD: Final = Struct("<?HH")
"""`usage_detail`, the number of events, and the length of the account id, which follows; the rest are the spans."""


class Record(NamedTuple):
    """The events of one request, which are all valid.

    `spans` are `ScopeSpans.spans` fields, so that those of several records are concatenated to one request.
    """

    account_id: str
    usage_detail: bool
    number: int
    spans: bytes


class Content(NamedTuple):
    """What was read from a file. `damaged_bytes` belong to no record with a correct checksum.

    An incomplete record at the end is not counted: writing it failed, and it was not acknowledged.
    """

    records: list[Record]
    damaged_bytes: int


def encoded(record: Record) -> bytes:
    """The bytes of a record."""
    account = record.account_id.encode()
    payload = _PAYLOAD.pack(record.usage_detail, record.number, len(account)) + account + record.spans
    return _HEADER.pack(_MARK, len(payload), zlib.crc32(payload)) + payload


def decoded(data: bytes) -> Content:
    """All records with a correct checksum."""
    records: list[Record] = []
    damaged, position = 0, 0
    while position < len(data):
        payload = _payload(data, position)
        if payload is not None:
            records.append(_record(payload))
            position += _HEADER.size + len(payload)
            continue
        following = data.find(_MARK, position + 1)
        end = len(data) if following < 0 else following
        if following >= 0 or not _is_incomplete(data, position):
            damaged += end - position
        position = end
    return Content(records, damaged)


def _payload(data: bytes, position: int) -> bytes | None:
    """The payload of the record at a position, or None if there is no valid one."""
    if position + _HEADER.size > len(data):
        return None
    mark, length, checksum = _HEADER.unpack_from(data, position)
    start = position + _HEADER.size
    payload = data[start : start + length]
    is_valid = mark == _MARK and len(payload) == length >= _PAYLOAD.size and zlib.crc32(payload) == checksum
    return payload if is_valid else None


def _is_incomplete(data: bytes, position: int) -> bool:
    if position + _HEADER.size > len(data):
        return True
    mark, length, _ = _HEADER.unpack_from(data, position)
    return bool(mark == _MARK and position + _HEADER.size + length > len(data))


def _record(payload: bytes) -> Record:
    usage_detail, number, account_length = _PAYLOAD.unpack_from(payload)
    end = _PAYLOAD.size + account_length
    return Record(payload[_PAYLOAD.size : end].decode(), usage_detail, number, payload[end:])
