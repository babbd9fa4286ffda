"""The bounded queue of events that are not yet delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

# The size of a bytes object beyond its content, and of its slot in the deque.
_OVERHEAD_BYTES: Final = 41


class Pending:
    """A first-in first-out queue of encoded events, bounded by count and by bytes of memory.

    A full queue refuses the newest events. So a batch that is retried stays the same batch, and the caller can count or
    spool what was refused at once. Events stay in the queue until their outcome is known, so the bounds include those
    of the current request.

    Not thread-safe: the caller holds a lock.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._events: deque[bytes] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, spans: Sequence[bytes]) -> int:
        """Add as many as fit, in order. Returns how many."""
        added = 0
        for span in spans:
            size = len(span) + _OVERHEAD_BYTES
            if len(self._events) >= self._max_events or self.size_bytes + size > self._max_bytes:
                break
            self._events.append(span)
            self.size_bytes += size
            added += 1
        return added

    def first(self, max_events: int, max_bytes: int) -> list[bytes]:
        """The oldest events within both bounds, but at least one if there is any. They stay in the queue."""
        batch = list(islice(self._events, max_events))
        size = 0
        for index, span in enumerate(batch):
            size += len(span)
            if size > max_bytes and index:
                return batch[:index]
        return batch

    def remove(self, count: int) -> None:
        """Remove the oldest `count` events."""
        for _ in range(count):
            self.size_bytes -= len(self._events.popleft()) + _OVERHEAD_BYTES

    def clear(self) -> list[bytes]:
        """Remove all events and return them, oldest first."""
        remaining = list(self._events)
        self._events.clear()
        self.size_bytes = 0
        return remaining
