"""The hashes and start times of the stored events of one shard, in memory: 16 bytes per event."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Times = NDArray[np.int64]
_RUN_RATIO: Final = 2


class Matches(NamedTuple):
    """Places in the searched hashes, and the start time in ms of a stored event with that hash."""

    places: NDArray[np.int64]
    starts_ms: Times


class KnownIds:
    """Sorted runs of hashes, each at least twice as long as the next. A hash finds candidates; the table decides."""

    def __init__(self, hashes: Hashes, starts_ms: Times) -> None:
        self._runs: list[tuple[Hashes, Times]] = []
        self.add(hashes, starts_ms)

    def __len__(self) -> int:
        return sum(len(hashes) for hashes, _ in self._runs)

    def add(self, hashes: Hashes, starts_ms: Times) -> None:
        """Add events."""
        if not len(hashes):
            return
        order = np.argsort(hashes)
        self._runs.append((hashes[order], starts_ms[order]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < _RUN_RATIO * len(self._runs[-1][0]):
            (first, first_starts), (second, second_starts) = self._runs.pop(), self._runs.pop()
            hashes, starts_ms = np.concatenate([first, second]), np.concatenate([first_starts, second_starts])
            order = np.argsort(hashes, kind="stable")
            self._runs.append((hashes[order], starts_ms[order]))

    def matches(self, hashes: Hashes) -> Matches:
        """The stored events with one of these hashes."""
        places: list[NDArray[np.int64]] = []
        starts: list[Times] = []
        for known, known_starts in self._runs:
            at = np.searchsorted(known, hashes)
            searched = np.arange(len(hashes))
            while len(at):
                found = (at < len(known)) & (known[np.minimum(at, len(known) - 1)] == hashes[searched])
                at, searched = at[found], searched[found]
                places.append(searched)
                starts.append(known_starts[at])
                at = at + 1  # events of several start times may have one hash
        if not places:
            return Matches(np.empty(0, np.int64), np.empty(0, np.int64))
        return Matches(np.concatenate(places), np.concatenate(starts))
