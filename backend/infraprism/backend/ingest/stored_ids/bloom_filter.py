"""A blocked Bloom filter: each hash sets four bits in each of two words of 64 bits.

At 16 bits per hash about one in a thousand other hashes is found by mistake. A hash that was added is always found. The
words are in the order of the hashes, so that ordered hashes are added and searched in one pass over the memory. The
second words are read only for the few hashes that are found in the first words.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from infraprism.backend.store.identities import Hashes

Masks = NDArray[np.uint64]
Words = NDArray[np.uint64]
"""The first and the second words, in two rows."""

BITS_PER_HASH: Final = 16
_MIN_BITS_PER_HASH: Final = 4
_SALTS: Final = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)
"""Odd constants of the split block Bloom filter in the Apache Parquet format (BloomFilter.md)."""


def empty(number: int, most_bytes: int) -> Words:
    """A filter for this number of hashes, of about `most_bytes` at most. A small one finds more hashes by mistake."""
    size = min(number * BITS_PER_HASH // 8, max(most_bytes, number * _MIN_BITS_PER_HASH // 8))
    size = max(16, size)
    return np.zeros((2, -(-size // 16)), np.uint64)


def add(words: Words, hashes: Hashes) -> None:
    """Add hashes, which are ordered."""
    if not len(hashes):
        return
    places = _places(words, hashes)
    starts = np.flatnonzero(np.diff(places, prepend=places[0] + np.uint64(1)))
    for row in range(2):
        words[row, places[starts]] |= np.bitwise_or.reduceat(_bits(hashes, row), starts)


def masks(hashes: Hashes) -> Masks:
    """The bits of each hash in its first word."""
    return _bits(hashes, 0)


def found(words: Words, hashes: Hashes, bits: Masks) -> Hashes:
    """The hashes that may have been added. `bits` are their `masks`."""
    places = _places(words, hashes)
    first = np.flatnonzero((words[0].take(places.view(np.int64)) & bits) == bits)
    hashes, places = hashes[first], places[first]
    bits = _bits(hashes, 1)
    passed: Hashes = hashes[(words[1, places] & bits) == bits]
    return passed


def _bits(hashes: Hashes, row: int) -> Masks:
    low = hashes.astype(np.uint32)
    bits = np.zeros(len(hashes), np.uint64)
    for salt in _SALTS[4 * row : 4 * row + 4]:
        bits |= np.uint64(1) << ((low * np.uint32(salt)) >> np.uint32(26)).astype(np.uint64)
    return bits


def _places(words: Words, hashes: Hashes) -> NDArray[np.uint64]:
    return (hashes >> np.uint64(32)) * np.uint64(words.shape[1]) >> np.uint64(32)
