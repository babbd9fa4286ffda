"""The bytes of a log: records with a checksum, one after the other."""

from __future__ import annotations

import re
import zlib
from struct import Struct
from typing import Final, NamedTuple

_MARK: Final = b"IPW1"
"""The start of a record and its version. After damage reading continues at the next one."""
_HEADER: Final = Struct("<4sII")
"""The mark, the length of the payload and its CRC-32."""
_PAYLOAD: Final = Struct("<?HH")
"""`usage_detail`, the number of events, and the length of the account id, which follows; the rest are the spans."""


MAX_PAYLOAD_BYTES: Final = 2**16
"""Of a record. A longer one is damaged."""
_is_account: Final = re.compile(rb"[\x21-\x7e]+").fullmatch
"""The ids in a span can be chosen to look like a record. Its account id would then have other bytes."""


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

    An incomplete record at the end is not counted: writing it was interrupted, and it was not acknowledged.
    """

    records: list[Record]
    damaged_bytes: int


def encoded(record: Record) -> bytes:
    """The bytes of a record of at most `MAX_PAYLOAD_BYTES`."""
    account = record.account_id.encode()
    payload = _PAYLOAD.pack(record.usage_detail, record.number, len(account)) + account + record.spans
    return _HEADER.pack(_MARK, len(payload), zlib.crc32(payload)) + payload


def decoded(data: bytes) -> Content:
    """All records with a correct checksum."""
    records: list[Record] = []
    damaged, position = 0, 0
    while position < len(data):
        found = _record_at(data, position)
        if found is not None:
            record, position = found
            records.append(record)
            continue
        end = _next_record(data, position + 1)
        if end < len(data) or not _is_incomplete(data, position):
            damaged += end - position
        position = end
    return Content(records, damaged)


def _next_record(data: bytes, start: int) -> int:
    """The position of the next valid record, or the end. The ids in a span can have the bytes of a mark."""
    position = data.find(_MARK, start)
    while position >= 0 and _record_at(data, position) is None:
        position = data.find(_MARK, position + 1)
    return len(data) if position < 0 else position


def _record_at(data: bytes, position: int) -> tuple[Record, int] | None:
    """The record at a position and the position after it, or None if there is no valid one."""
    start = position + _HEADER.size
    if start > len(data):
        return None
    mark, length, checksum = _HEADER.unpack_from(data, position)
    end = start + length
    if mark != _MARK or not _PAYLOAD.size <= length <= MAX_PAYLOAD_BYTES or end > len(data):
        return None
    payload = data[start:end]
    if zlib.crc32(payload) != checksum:
        return None
    usage_detail, number, account_length = _PAYLOAD.unpack_from(payload)
    account = payload[_PAYLOAD.size : _PAYLOAD.size + account_length]
    if len(account) != account_length or not _is_account(account):
        return None
    return Record(account.decode(), usage_detail, number, payload[_PAYLOAD.size + account_length :]), end


def _is_incomplete(data: bytes, position: int) -> bool:
    """Whether a record starts here and the file ends before it does."""
    start = position + _HEADER.size
    if start > len(data):
        return True
    mark, length, _ = _HEADER.unpack_from(data, position)
    return bool(mark == _MARK and length <= MAX_PAYLOAD_BYTES and start + length > len(data))
