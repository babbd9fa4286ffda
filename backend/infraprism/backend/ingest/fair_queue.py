"""A queue that serves accounts in turn, so that the requests of one account do not delay those of others."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """An element of the queue: its account and its size in bytes."""

    @property
    def account_id(self) -> str:
        """The account."""

    @property
    def size(self) -> int:
        """The size in bytes."""


_Item = TypeVar("_Item", bound=Queued)


class FairQueue(Generic[_Item]):
    """First in, first out within an account; accounts take turns."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, deque[_Item]] = OrderedDict()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._accounts)

    def append(self, item: _Item) -> None:
        """Add an element."""
        self._accounts.setdefault(item.account_id, deque()).append(item)
        self.size += item.size

    def take(self, most: int) -> list[_Item]:
        """Remove elements of at most `most` bytes, or one larger element."""
        taken: list[_Item] = []
        size = 0
        while self._accounts:
            account_id, items = next(iter(self._accounts.items()))
            if taken and size + items[0].size > most:
                break
            taken.append(items.popleft())
            size += taken[-1].size
            if items:
                self._accounts.move_to_end(account_id)
            else:
                del self._accounts[account_id]
        self.size -= size
        return taken
