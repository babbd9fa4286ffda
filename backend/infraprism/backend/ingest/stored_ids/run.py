"""A run: a file of identities ordered by hash, with a Bloom filter and the first hash of each block.

    header (4096 bytes) | blocks of 4096 bytes | first hash of each block | Bloom filter

Only the filter and the first hashes are in memory. A lookup reads a block of the file for each hash that passes the
filter. Every block has a checksum, which is compared whenever it is read, and so have the header, the first hashes and
the filter. A run is written once; a file is complete when it has its name.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infraprism.backend.ingest.stored_ids import bloom_filter
from infraprism.backend.ingest.stored_ids.bloom_filter import Masks
from infraprism.backend.store.identities import NONE, Hashes, Identities, joined, matching

_MAGIC: Final = b"stored ids run 1"
_HEADER: Final = struct.Struct("<16sQQII")
"""Magic, number of identities, bytes of the filter, checksum of what follows the blocks, checksum of the header."""
_BLOCK_BYTES: Final = 4096
_PER_BLOCK: Final = 314
_EPOCH_MS: Final = 1_577_836_800_000
"""2020-01-01, the earliest start time of an event. Start times are stored in 40 bits, until 2054."""
_BLOCK: Final = np.dtype(
    {
        "names": ["hashes", "low", "high", "crc"],
        "formats": [("<u8", _PER_BLOCK), ("<u4", _PER_BLOCK), ("u1", _PER_BLOCK), "<u4"],
        "offsets": [0, 8 * _PER_BLOCK, 12 * _PER_BLOCK, _BLOCK_BYTES - 4],
        "itemsize": _BLOCK_BYTES,
    }
)
_AT_ONCE: Final = 64
"""Blocks that are read or written at once."""


class DamagedRunError(Exception):
    """The file is not as it was written."""


class Run:
    """An open run. Raises DamagedRunError, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._open()
        except BaseException:
            os.close(self._file)
            raise

    def _open(self) -> None:
        header = os.pread(self._file, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            raise DamagedRunError(self.path.name)
        magic, self.number, filter_bytes, crc, header_crc = _HEADER.unpack(header)
        if magic != _MAGIC or header_crc != zlib.crc32(header[:-4]):
            raise DamagedRunError(self.path.name)
        self._blocks = -(-self.number // _PER_BLOCK)
        size = 8 * self._blocks + filter_bytes
        rest = bytearray(size)
        if os.preadv(self._file, [rest], _BLOCK_BYTES * (1 + self._blocks)) != size or zlib.crc32(rest) != crc:
            raise DamagedRunError(self.path.name)
        self._first = np.frombuffer(rest, np.uint64, self._blocks)
        self._filter = np.frombuffer(rest, np.uint64, offset=8 * self._blocks).reshape(2, -1)

    @property
    def filter_bytes(self) -> int:
        """The size of its filter in memory."""
        return self._filter.nbytes

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def matching(self, hashes: Hashes, bits: Masks) -> Identities:
        """The identities with one of these hashes, which are ordered. `bits` are their masks in a Bloom filter."""
        wanted = bloom_filter.found(self._filter, hashes, bits)
        if not len(wanted):
            return NONE
        first = np.maximum(np.searchsorted(self._first, wanted, "left").astype(np.int64) - 1, 0)
        last = np.maximum(np.searchsorted(self._first, wanted, "right").astype(np.int64) - 1, 0)
        found = []
        for start, end, from_place, to_place in _groups(first, last):
            found.append(matching(self._entries(start, end), wanted[from_place:to_place]))
        return joined(found)

    def __iter__(self) -> Iterator[Identities]:
        """All identities in their order, some at a time."""
        for start in range(0, self._blocks, _AT_ONCE):
            yield self._entries(start, min(start + _AT_ONCE, self._blocks))

    def _entries(self, start: int, end: int) -> Identities:
        """The identities of some blocks."""
        data = os.pread(self._file, _BLOCK_BYTES * (end - start), _BLOCK_BYTES * (1 + start))
        if len(data) != _BLOCK_BYTES * (end - start):
            raise DamagedRunError(self.path.name)
        blocks = np.frombuffer(data, _BLOCK)
        view = memoryview(data)
        for place, crc in enumerate(blocks["crc"].tolist()):
            if zlib.crc32(view[_BLOCK_BYTES * place : _BLOCK_BYTES * (place + 1) - 4]) != crc:
                raise DamagedRunError(self.path.name)
        number = min(self.number - start * _PER_BLOCK, _PER_BLOCK * (end - start))
        starts = blocks["high"].astype(np.int64) << 32 | blocks["low"]
        return Identities(blocks["hashes"].reshape(-1)[:number], starts.reshape(-1)[:number] + _EPOCH_MS)


def _groups(first: NDArray[np.int64], last: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of blocks that are read at once: the first block, the end, and the range of the hashes that are in them.

    Hash i is in the blocks from first[i] to last[i].
    """
    place = 0
    starts, ends = first.tolist(), last.tolist()
    while place < len(starts):
        begin, start, end = place, starts[place], ends[place] + 1
        while place < len(starts) and starts[place] <= end and max(end, ends[place] + 1) - start <= _AT_ONCE:
            end = max(end, ends[place] + 1)
            place += 1
        place = max(place, begin + 1)
        yield start, end, begin, place


def write(path: Path, number: int, ordered: Iterable[Identities], filter_bytes: int) -> None:
    """Write a run of `number` identities, with a filter of at most about `filter_bytes`, and make it durable.

    Raises OSError; then there is no file of this name.
    """
    temporary = path.with_suffix(".tmp")
    words = bloom_filter.empty(number, filter_bytes)
    first: list[Hashes] = []
    try:
        with temporary.open("wb") as file:
            file.write(bytes(_BLOCK_BYTES))
            for entries in _in_blocks(ordered):
                bloom_filter.add(words, entries.hashes)
                blocks = _encoded(entries)
                first.append(blocks["hashes"][:, 0].copy())
                file.write(blocks.tobytes())
            rest = b"".join(one.tobytes() for one in first) + words.tobytes()
            file.write(rest)
            header = _HEADER.pack(_MAGIC, number, words.nbytes, zlib.crc32(rest), 0)[:-4]
            file.seek(0)
            file.write(header + struct.pack("<I", zlib.crc32(header)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _in_blocks(ordered: Iterable[Identities]) -> Iterator[Identities]:
    """The same entries, in pieces that fill whole blocks; the last one may not."""
    waiting: Identities = NONE
    for entries in ordered:
        waiting = joined((waiting, entries))
        whole = waiting.number // (_PER_BLOCK * _AT_ONCE) * _PER_BLOCK * _AT_ONCE
        for start in range(0, whole, _PER_BLOCK * _AT_ONCE):
            yield waiting.between(start, start + _PER_BLOCK * _AT_ONCE)
        waiting = waiting.between(whole, waiting.number)
    if waiting.number:
        yield waiting


def _encoded(entries: Identities) -> NDArray[Any]:
    number = -(-entries.number // _PER_BLOCK)
    blocks = np.zeros(number, _BLOCK)
    since = np.zeros(number * _PER_BLOCK, np.int64)
    since[: entries.number] = entries.starts_ms - _EPOCH_MS
    hashes = np.full(number * _PER_BLOCK, np.iinfo(np.uint64).max, np.uint64)
    hashes[: entries.number] = entries.hashes
    blocks["hashes"] = hashes.reshape(number, -1)
    blocks["low"] = (since & 0xFFFFFFFF).reshape(number, -1)
    blocks["high"] = (since >> 32).reshape(number, -1)
    data = memoryview(blocks.tobytes())
    blocks["crc"] = [zlib.crc32(data[_BLOCK_BYTES * n : _BLOCK_BYTES * (n + 1) - 4]) for n in range(number)]
    return blocks


def merged(runs: Iterable[Iterable[Identities]], number: int) -> Iterator[Identities]:
    """The identities of several runs in the order of their hashes. Some of them are in memory at a time.

    Hashes are evenly distributed; `number` is the number of all identities.
    """
    readers = [_Reader(iter(run)) for run in runs]
    slices = max(1, number // (_PER_BLOCK * _AT_ONCE))
    for place in range(1, slices + 1):
        bound = None if place == slices else np.uint64(2**64 * place // slices)
        yield joined(reader.until(bound) for reader in readers).ordered()


class _Reader:
    """Reads the identities of a run up to increasing bounds."""

    def __init__(self, run: Iterator[Identities]) -> None:
        self._run = run
        self._waiting: Identities | None = NONE

    def until(self, bound: np.uint64 | None) -> Identities:
        """The next identities with a hash below `bound`; without it all."""
        found = []
        while self._waiting is not None:
            end = self._waiting.number if bound is None else int(np.searchsorted(self._waiting.hashes, bound, "left"))
            found.append(self._waiting.between(0, end))
            if end < self._waiting.number:
                self._waiting = self._waiting.between(end, self._waiting.number)
                break
            self._waiting = next(self._run, None)
        return joined(found)
