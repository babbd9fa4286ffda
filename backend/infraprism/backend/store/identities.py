"""Identities of the index: the 64-bit hash of an account and an event id, and the start time of the event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Times = NDArray[np.int64]


class Identities(NamedTuple):
    """Hashes and start times in milliseconds since 1970, in arrays of the same length."""

    hashes: Hashes
    starts_ms: Times

    @property
    def number(self) -> int:
        """Their number."""
        return len(self.hashes)

    def ordered(self) -> Identities:
        """The same identities, ordered by hash."""
        order = np.argsort(self.hashes, kind="stable")
        return Identities(self.hashes[order], self.starts_ms[order])

    def between(self, first: int, end: int) -> Identities:
        """The identities at the places from `first`, before `end`."""
        return Identities(self.hashes[first:end], self.starts_ms[first:end])


NONE = Identities(np.empty(0, np.uint64), np.empty(0, np.int64))


def joined(parts: Iterable[Identities]) -> Identities:
    """The identities of all parts, in their order."""
    found = list(parts)
    if not found:
        return NONE
    if len(found) == 1:
        return found[0]
    return Identities(np.concatenate([one.hashes for one in found]), np.concatenate([one.starts_ms for one in found]))


def matching(identities: Identities, hashes: Hashes) -> Identities:
    """The identities with one of these hashes. Both are ordered by hash."""
    if not identities.number or not len(hashes):
        return NONE
    first = np.searchsorted(identities.hashes, hashes, "left")
    # Most hashes have no match: the end is searched only for those that have one.
    found = identities.hashes[np.minimum(first, identities.number - 1)] == hashes
    if not found.any():
        return NONE
    first, wanted = first[found], hashes[found]
    counts = np.searchsorted(identities.hashes, wanted, "right") - first
    places = np.repeat(first, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return Identities(identities.hashes[places], identities.starts_ms[places])
