"""The records of the log that the store does not have yet, by account."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from infraprism.backend.ingest.write_ahead_log.records import Record

_OVERHEAD_BYTES: Final = 200
"""Of a record in memory, apart from its spans."""
MAX_GROUP_EVENTS: Final = 10_000
_MAX_GROUP_BYTES: Final = 4 * 2**20


class _Numbered(NamedTuple):
    number: int
    record: Record


class Group(NamedTuple):
    """Records of one account that are stored together."""

    account_id: str
    usage_detail: bool
    records: list[Record]


class Unapplied:
    """Records in the order in which they were added. `max_bytes` limits their memory.

    One account gets at most half of what the others leave.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._bytes_of: defaultdict[str, int] = defaultdict(int)
        self._accounts: defaultdict[str, deque[_Numbered]] = defaultdict(deque)
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._accounts)

    @property
    def last(self) -> int:
        """The number of the record that was added last."""
        return self._last

    @property
    def events(self) -> int:
        """The number of events."""
        return sum(one.record.number for records in self._accounts.values() for one in records)

    def reserve(self, record: Record) -> bool:
        """Reserve memory for a record. Returns False if there is not enough."""
        size = len(record.spans) + _OVERHEAD_BYTES
        reserved = self._bytes_of.get(record.account_id, 0)
        if reserved + size > (self._max_bytes - self._bytes + reserved) // 2:
            return False
        self._count(record.account_id, size)
        return True

    def release(self, record: Record) -> None:
        """Release the memory of a record that is not added, or that is stored."""
        self._count(record.account_id, -len(record.spans) - _OVERHEAD_BYTES)

    def _count(self, account_id: str, size: int) -> None:
        self._bytes += size
        self._bytes_of[account_id] += size
        if not self._bytes_of[account_id]:
            del self._bytes_of[account_id]

    def add(self, records: Iterable[Record]) -> None:
        """Add records, whose memory is reserved."""
        for record in records:
            self._last += 1
            self._accounts[record.account_id].append(_Numbered(self._last, record))

    def load(self, records: Sequence[Record]) -> None:
        """Add records of an earlier process, even above the limit."""
        for record in records:
            self._count(record.account_id, len(record.spans) + _OVERHEAD_BYTES)
        self.add(records)

    def has(self, account_id: str, number: int) -> bool:
        """Whether an account has a record that was not added after the record with this number."""
        records = self._accounts.get(account_id)
        return bool(records and records[0].number <= number)

    def groups(self, max_events: int = MAX_GROUP_EVENTS) -> Iterator[Group]:
        """All records, in groups of about `max_events` that are stored with one request each."""
        for account_id, numbered in self._accounts.items():
            group = Group(account_id, numbered[0].record.usage_detail, [])
            events, size = 0, 0
            for _, record in numbered:
                is_full = events + record.number > max_events or size + len(record.spans) > _MAX_GROUP_BYTES
                if group.records and (is_full or record.usage_detail != group.usage_detail):
                    yield group
                    group, events, size = Group(account_id, record.usage_detail, []), 0, 0
                group.records.append(record)
                events += record.number
                size += len(record.spans)
            yield group

    def remove(self, groups: Iterable[Group]) -> None:
        """Remove the records of groups that are stored."""
        removed: defaultdict[str, set[int]] = defaultdict(set)
        for group in groups:
            removed[group.account_id].update(map(id, group.records))
        for account_id, records in removed.items():
            remaining = deque(one for one in self._accounts[account_id] if id(one.record) not in records)
            for one in self._accounts[account_id]:
                if id(one.record) in records:
                    self.release(one.record)
            if remaining:
                self._accounts[account_id] = remaining
            else:
                del self._accounts[account_id]
