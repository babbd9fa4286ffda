"""How the owner of a shard stores events exactly once. Pure: a generator yields commands and is sent their results.

Every event belongs to one shard. One node at a time owns a shard, and only it deduplicates and inserts. A node that was
the owner may be slow: its INSERT may arrive after another node has become the owner. Three facts keep that harmless.

- **Numbers.** Every INSERT of a shard carries the deduplication token `shard/number`. In one partition of the table, of
  all INSERTs with one token only the first has an effect.
- **Fences.** The row of the lease has the last number that counts, and the months into which the owner may insert. So
  the INSERT of an earlier owner that may still arrive has the next number, and one of these months. A new owner uses up
  that number in these months with an INSERT of its own, and reads the stored ids only then.
- **Compare and set.** A batch counts when its number is written to the row of the lease, which succeeds only for its
  holder. Nothing is acknowledged before.

After each INSERT the owner reads whether the events are stored. They are not if the number was used before, which
happens if the leases were restored from an old backup.

A failed command has an unknown outcome. The generator then ends with the error, and the ownership must be dropped and
taken again, which fences what may still arrive.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

JUMP: Final = 2**32
"""How many numbers are skipped after one that was used before."""


class LeaseLostError(Exception):
    """Another node owns the shard."""


class Batch(Protocol):
    """Events of one shard. `months` are the partitions of the table that they belong to; an empty batch has none."""

    @property
    def months(self) -> frozenset[int]:
        """Year times 100 plus month."""


BatchT = TypeVar("BatchT", bound=Batch)
Batch_contra = TypeVar("Batch_contra", bound=Batch, contravariant=True)


class StoredIds(Protocol[Batch_contra]):
    """The ids of the stored events of a shard."""

    def add(self, batch: Batch_contra) -> None:
        """The events of the batch are stored now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The row of a lease: the last number that counts, and the months into which its holder may insert."""

    last: int
    months: frozenset[int]


@dataclass(frozen=True, slots=True)
class Acquire:
    """Become the holder of the lease, if it has expired or was given back. Result: Lease, or None."""

    shard: int
    holder: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Set the number and the months of the lease, if it still has this holder and this last number. Result: bool."""

    shard: int
    holder: str
    last: int
    to: Lease


@dataclass(frozen=True, slots=True)
class Fence:
    """Insert a row that no query reads into a partition, with this token. No result."""

    shard: int
    token: str
    month: int


@dataclass(frozen=True, slots=True)
class Load:
    """Read the ids of all stored events of the shard, with every INSERT that has ended. Result: StoredIds."""

    shard: int


@dataclass(frozen=True, slots=True)
class Unstored(Generic[BatchT]):
    """The events of the batch that are not stored, each once. Result: a batch."""

    ids: StoredIds[BatchT]
    batch: BatchT


@dataclass(frozen=True, slots=True)
class Insert(Generic[BatchT]):
    """Insert the events of one month with this token. The server must not begin it late (DEADLINE_S). No result."""

    token: str
    month: int
    batch: BatchT


@dataclass(frozen=True, slots=True)
class AreStored(Generic[BatchT]):
    """Whether the table has every event of the batch. Result: bool."""

    batch: BatchT


Command = Acquire | Advance | Fence | Load | Unstored[Any] | Insert[Any] | AreStored[Any]
Steps = Generator[Command, Any, None]


class Ownership(Generic[BatchT]):
    """One node's ownership of one shard, from `take` until the first error. One generator runs at a time.

    `holder` is unique: a node that takes the shard again uses a new one.
    """

    def __init__(self, shard: int, holder: str) -> None:
        self.shard: Final = shard
        self.holder: Final = holder
        self._lease = Lease(0, frozenset())
        self._ids: StoredIds[BatchT] | None = None

    def take(self) -> Steps:
        """Become the owner. Raises LeaseLostError."""
        lease = yield Acquire(self.shard, self.holder)
        if lease is None:
            raise LeaseLostError
        self._lease = lease
        token = self._token(lease.last + 1)
        for month in sorted(lease.months):
            yield Fence(self.shard, token, month)
        yield from self._advance(Lease(lease.last + 1, frozenset()))
        self._ids = yield Load(self.shard)

    def store(self, batch: BatchT) -> Steps:
        """Store the events of a batch that are not stored. At the end all are. Raises LeaseLostError."""
        assert self._ids is not None, "not taken"
        while True:
            new: BatchT = yield Unstored(self._ids, batch)
            if not new.months:
                return
            if not new.months <= self._lease.months:
                yield from self._advance(Lease(self._lease.last, self._lease.months | new.months))
            number = self._lease.last + 1
            for month in sorted(new.months):
                yield Insert(self._token(number), month, new)
            are_stored: bool = yield AreStored(new)
            yield from self._advance(Lease(number if are_stored else number + JUMP, self._lease.months))
            if are_stored:
                self._ids.add(new)
                return
            self._ids = yield Load(self.shard)

    def _advance(self, to: Lease) -> Steps:
        has_advanced: bool = yield Advance(self.shard, self.holder, self._lease.last, to)
        if not has_advanced:
            raise LeaseLostError
        self._lease = to

    def _token(self, number: int) -> str:
        return f"{self.shard}/{number}"
