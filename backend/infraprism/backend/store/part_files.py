"""Reads the files of a part without the engine: their recorded checksums, the number of rows and the time range.

The engine loads a part whose files have the recorded sizes. Their content is verified here for the small files, at each
start, and for all files by the scrub (scrub.py).
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from clickhouse_cityhash.cityhash import CityHash128, CityHash128WithSeed  # type: ignore[import-untyped]  # as below
from lz4 import block as lz4_block  # type: ignore[import-untyped]  # the packages have no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHECKSUMS: Final = "checksums.txt"
SMALL_FILE_BYTES: Final = 2048
"""The engine hashes a file of this size in one piece."""
_HEADER: Final = b"checksums format version: 4\n"
_HASH_BYTES: Final = 16
_BLOCK_HEADER: Final = struct.Struct("<BII")
_ZSTD: Final = 0x90
_LZ4: Final = 0x82
_STORED: Final = 0x02
_MAX_BLOCK_BYTES: Final = 2**30
_MAX_CORRECTED_BYTES: Final = 2**16
"""Of a block: the search for the wrong bit takes some seconds."""
_ROWS: Final = "count.txt"
_TIMES: Final = "minmax_timestamp.idx"
_PART: Final = re.compile(r"(?:([a-z-]+)_)?((\d{4})(\d{2})_(\d+)_(\d+)_(\d+)(?:_\d+)?)(?:_try\d+)?")


class DamagedFileError(Exception):
    """A file is not as it was written. The message names it."""


class PartName(NamedTuple):
    """The name of a directory of a part: `prefix_partition_first_last_level`."""

    prefix: str
    name: str
    partition_id: str
    first_block: int
    last_block: int
    level: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The rows and the time range of a part, in UTC; None where they are unknown, with the reason."""

    rows: int | None
    first: str | None
    last: str | None
    unknown: str | None


def parsed_name(directory: str) -> PartName | None:
    """The parts of the name of a directory, or None if it is not the name of a part."""
    found = _PART.fullmatch(directory)
    if found is None:
        return None
    prefix, name, year, month, first, last, level = found.groups()
    return PartName(prefix or "", name, year + month, int(first), int(last), int(level))


def recorded(files: Path) -> Mapping[str, tuple[int, bytes]]:
    """The recorded size and hash of each file of a part. Raises DamagedFileError."""
    try:
        content = (files / CHECKSUMS).read_bytes()
        return _parsed(_decompressed(content))
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise DamagedFileError(f"{CHECKSUMS} {_reason(error)}") from None


def file_hash(content: bytes) -> bytes:
    """The hash of a small file, as it is recorded."""
    return _hash_bytes(CityHash128WithSeed(content, 0))


def block_hash(content: bytes | bytearray | memoryview) -> bytes:
    """The hash of a compressed block, as it stands before the block."""
    return _hash_bytes(CityHash128(content))


def intact_file(files: Path, name: str, checksums: Mapping[str, tuple[int, bytes]]) -> bytes:
    """The content of a file. Raises DamagedFileError."""
    if name not in checksums:
        raise DamagedFileError(f"{name} is not recorded")
    size, expected = checksums[name]
    try:
        content = (files / name).read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{name} {_reason(error)}") from None
    if len(content) != size:
        raise DamagedFileError(f"{name} has {len(content)} of {size} bytes")
    # The engine records no hash of an empty file, which a column with only default values has.
    if size and file_hash(content) != expected:
        raise DamagedFileError(f"{name} has another checksum than recorded")
    return content


def small_files_are_intact(files: Path) -> bool:
    """Whether the small files of a part have their recorded checksums, and the others their sizes."""
    try:
        checksums = recorded(files)
        for name, (size, _) in checksums.items():
            if size <= SMALL_FILE_BYTES:
                intact_file(files, name, checksums)
            elif (files / name).stat().st_size != size:
                return False
    except DamagedFileError:
        # A part that was removed in the meantime is intact.
        return not files.exists()
    except OSError:
        return not files.exists()
    return True


def corrected_bit(content: bytes, is_intact: Callable[[bytes], bool]) -> bytes | None:
    """The content with one other bit that is intact, or None. The checksum of 128 bits excludes a coincidence."""
    changed = bytearray(content)
    for place in range(len(changed)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            if is_intact(bytes(changed)):
                return bytes(changed)
            changed[place] ^= 1 << bit
    return None


def with_corrected_bits(files: Path) -> Path:
    """Correct every file of which one bit, or one bit of a compressed block, is wrong. Other files stay as they are."""
    path = files / CHECKSUMS
    try:
        checksums = recorded(files)
    except DamagedFileError:
        corrected = corrected_bit(path.read_bytes()[:SMALL_FILE_BYTES], _is_checksums) if path.exists() else None
        if corrected is None:
            return files
        path.write_bytes(corrected)
        checksums = recorded(files)
    for name, (size, expected) in checksums.items():
        file = files / name
        if not file.exists() or file.stat().st_size != size:
            continue
        if size > SMALL_FILE_BYTES:
            _correct_blocks(file)
        elif file_hash(content := file.read_bytes()) != expected:
            found = corrected_bit(content, lambda changed, expected=expected: file_hash(changed) == expected)  # type: ignore[misc]
            file.write_bytes(found or content)
    return files


def _correct_blocks(file: Path) -> None:
    """Correct the blocks of a compressed file. A block is its hash, and a header with its size, and data."""
    with file.open("r+b") as stream:
        while header := stream.read(_HASH_BYTES + _BLOCK_HEADER.size):
            if len(header) < _HASH_BYTES + _BLOCK_HEADER.size:
                return
            method, size, _ = _BLOCK_HEADER.unpack_from(header, _HASH_BYTES)
            if method not in (_ZSTD, _LZ4, _STORED) or not _BLOCK_HEADER.size <= size <= _MAX_BLOCK_BYTES:
                return
            start = stream.tell() - _BLOCK_HEADER.size
            block = header[_HASH_BYTES:] + stream.read(size - _BLOCK_HEADER.size)
            expected = header[:_HASH_BYTES]
            if len(block) <= _MAX_CORRECTED_BYTES and block_hash(block) != expected:
                found = corrected_bit(block, lambda changed, expected=expected: block_hash(changed) == expected)  # type: ignore[misc]
                stream.seek(start)
                stream.write(found or block)


def _is_checksums(content: bytes) -> bool:
    try:
        _parsed(_decompressed(content))
    except (ValueError, IndexError, struct.error):
        return False
    return True


def contents(files: Path, name: PartName | None) -> Contents:
    """The rows and the time range of a part. Only files with their recorded checksums are believed."""
    try:
        checksums = recorded(files)
    except DamagedFileError as error:
        return Contents(None, None, None, f"{error}{_month(name)}")
    reasons, rows, first, last = [], None, None, None
    try:
        rows = int(intact_file(files, _ROWS, checksums))
    except (DamagedFileError, ValueError) as error:
        reasons.append(str(error))
    try:
        first, last = map(_time, struct.unpack("<qq", intact_file(files, _TIMES, checksums)))
    except (DamagedFileError, struct.error, OverflowError) as error:
        reasons.append(f"{error}{_month(name)}")
    return Contents(rows, first, last, "; ".join(reasons) or None)


def _month(name: PartName | None) -> str:
    return f"; its name says {name.partition_id[:4]}-{name.partition_id[4:]}" if name else ""


def _time(milliseconds: int) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reason(error: Exception) -> str:
    return f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is damaged"


def _hash_bytes(number: int) -> bytes:
    return (number >> 64).to_bytes(8, "little") + (number & 2**64 - 1).to_bytes(8, "little")


def _decompressed(content: bytes) -> bytes:
    """The content of checksums.txt: one compressed block after a header."""
    header, body = content[: len(_HEADER)], content[len(_HEADER) :]
    method, compressed_bytes, size = _BLOCK_HEADER.unpack_from(body, _HASH_BYTES)
    block = body[_HASH_BYTES : _HASH_BYTES + compressed_bytes]
    if header != _HEADER or len(body) != _HASH_BYTES + compressed_bytes or block_hash(block) != body[:_HASH_BYTES]:
        raise ValueError
    data = block[_BLOCK_HEADER.size :]
    if method == _ZSTD:
        return bytes(zstd.decompress(data))
    if method == _LZ4:
        return bytes(lz4_block.decompress(data, uncompressed_size=size))
    if method == _STORED:
        return data
    raise ValueError


def _parsed(data: bytes) -> dict[str, tuple[int, bytes]]:
    count, place = _varint(data, 0)
    found = {}
    for _ in range(count):
        length, place = _varint(data, place)
        name, place = data[place : place + length].decode(), place + length
        size, place = _varint(data, place)
        found[name] = (size, data[place : place + _HASH_BYTES])
        place += _HASH_BYTES
        is_compressed, place = data[place], place + 1
        if is_compressed:
            _, place = _varint(data, place)
            place += _HASH_BYTES
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, place = data[place], place + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the last byte of a number
            return value, place
