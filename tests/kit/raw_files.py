"""Searches the bytes of a data directory, also within the compressed blocks of the engine."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lz4 import block as lz4_block  # type: ignore[import-untyped]  # the package has no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HASH_BYTES: Final = 16
_HEADER: Final = struct.Struct("<BII")
_ZSTD: Final = 0x90
_LZ4: Final = 0x82


def files_with(data: Path, text: str) -> list[str]:
    """The files of a directory that have a text as such or in a compressed block. A name counts too."""
    wanted = text.encode()
    return sorted(
        str(path.relative_to(data))
        for path in data.rglob("*")
        if text in path.name or (path.is_file() and any(wanted in found for found in _contents(path.read_bytes())))
    )


def _contents(content: bytes) -> Iterator[bytes]:
    yield content
    for start in (0, len(b"checksums format version: 4\n")):
        place = start
        while place + _HASH_BYTES + _HEADER.size <= len(content):
            method, size, plain_size = _HEADER.unpack_from(content, place + _HASH_BYTES)
            end = place + _HASH_BYTES + size
            if size < _HEADER.size or end > len(content):
                break
            data = content[place + _HASH_BYTES + _HEADER.size : end]
            if method == _LZ4:
                yield lz4_block.decompress(data, uncompressed_size=plain_size)
            elif method == _ZSTD:
                yield zstd.decompress(data)
            place = end
