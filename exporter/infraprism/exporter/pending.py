"""The events that wait to be sent, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

# What an object of type bytes takes beyond its content, and its place in the deque.
_OVERHEAD_BYTES: Final = 41


class Pending:
    """A first-in first-out queue of encoded events, bounded by count and by bytes of memory.

    A full queue refuses the newest: what was taken in keeps its place, a batch that is being sent again stays the same
    batch, and what is refused can be counted, or kept elsewhere, the moment it happens. Events stay in the queue until
    what became of them is known, so the bounds hold for those under way, too.

    Not safe between threads: whoever holds it holds a lock.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._events: deque[bytes] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, spans: Sequence[bytes]) -> int:
        """Take in as many as fit, in order; returns how many."""
        taken = 0
        for span in spans:
            size = len(span) + _OVERHEAD_BYTES
            if len(self._events) >= self._max_events or self.size_bytes + size > self._max_bytes:
                break
            self._events.append(span)
            self.size_bytes += size
            taken += 1
        return taken

    def first(self, max_events: int, max_bytes: int) -> list[bytes]:
        """The oldest events, at least one if there is any, and no more than fit into the bounds; they stay here."""
        batch = list(islice(self._events, max_events))
        size = 0
        for index, span in enumerate(batch):
            size += len(span)
            if size > max_bytes and index:
                return batch[:index]
        return batch

    def remove(self, count: int) -> None:
        """Forget the oldest `count` events."""
        for _ in range(count):
            self.size_bytes -= len(self._events.popleft()) + _OVERHEAD_BYTES

    def clear(self) -> list[bytes]:
        """Take out all that is left."""
        left = list(self._events)
        self._events.clear()
        self.size_bytes = 0
        return left
