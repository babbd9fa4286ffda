"""A world of nodes, leases and a table in which messages are late or lost and nodes stop, for the ownership protocol.

The nodes run the generators of the product. `Facts` removes single guarantees, to show that each one is needed.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from infraprism.backend.cluster.ownership import (
    Acquire,
    Advance,
    AreStored,
    Command,
    Fence,
    Insert,
    Lease,
    LeaseLostError,
    Load,
    Ownership,
    Steps,
    Unstored,
)

SHARD: Final = 0
MONTHS: Final = (202601, 202602)
WINDOW: Final = 4
"""Events that are sent at the same time: a new one when the oldest is acknowledged."""
DEADLINE: Final = 25
"""Steps after which the table refuses an INSERT."""
TOKEN_LIFETIME: Final = 80
"""Steps for which the table remembers a token."""


@dataclass(frozen=True)
class Facts:
    """What holds in the world."""

    tokens: bool = True
    fences: bool = True
    read_back: bool = True
    compare_and_set: bool = True
    deadlines: bool = True
    restores: bool = False
    """Whether all nodes may be stopped, and the leases restored from a backup."""


class FaultError(AssertionError):
    """An acknowledged event is missing, or an event is stored twice."""


class Event(NamedTuple):
    """An event: its id and the month of its start."""

    id: int
    month: int


@dataclass(frozen=True)
class Events:
    """A batch."""

    events: tuple[Event, ...]

    @property
    def months(self) -> frozenset[int]:
        """See Batch."""
        return frozenset(event.month for event in self.events)


class Ids:
    """The ids that an owner knows."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.known = set(ids)

    def add(self, batch: Events) -> None:
        """See StoredIds."""
        self.known |= {event.id for event in batch.events}


@dataclass(eq=False)
class _Message:
    command: Command
    sent_at: int
    sender: _Node | None


@dataclass(eq=False)
class _Node:
    name: str
    number: int = 0
    ownership: Ownership[Events] | None = None
    steps: Steps | None = None
    storing: Events | None = None
    answer: Any = None
    is_waiting: bool = False


@dataclass
class World:
    """Runs random steps. Every step checks that nothing acknowledged is missing and nothing is stored twice."""

    seed: int
    facts: Facts = field(default_factory=Facts)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._now = 0
        self._rows: list[Event] = []
        self._tokens: dict[tuple[str, int], int] = {}
        self._lease = Lease(0, frozenset())
        self._holder = ""
        self._backup = (self._lease, self._holder)
        self._nodes = [_Node(f"node-{number}") for number in range(3)]
        self._messages: list[_Message] = []
        self.acknowledged: set[int] = set()
        self.numbers_used_before = 0
        self.fenced = 0

    def run(self, steps: int) -> None:
        """Run steps. Raises FaultError."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (50, self._progress),
            (50, self._deliver),
            (1, self._deliver_late),
            (4, self._lose_contact),
            (1, self._lose_message),
            (1, self._stop_node),
        ]
        if self.facts.restores:
            actions += [(1, self._restore), (1, self._back_up)]
        weights, functions = zip(*actions, strict=True)
        for function in self._random.choices(functions, weights, k=steps):
            self._now += 1
            function()
            self._check()

    def finish(self) -> None:
        """All messages arrive, one node resends every event. Raises FaultError if one is then missing or double."""
        for node in self._nodes:
            self._drop(node)
        while self._messages:
            self._deliver_late()
        node = self._nodes[0]
        number = self._first_unacknowledged() + WINDOW
        everything = Events(tuple(Event(number, MONTHS[0]) for number in range(number)))
        while len(self.acknowledged) < number:
            self._now += 1
            self._advance(node, everything)
            while self._messages:
                self._deliver()
        self._check()

    def _check(self) -> None:
        stored = Counter(event.id for event in self._rows)
        if twice := [number for number, rows in stored.items() if rows > 1]:
            raise FaultError(f"stored twice: {twice}")
        if missing := self.acknowledged - stored.keys():
            raise FaultError(f"lost: {missing}")

    # Nodes.

    def _progress(self) -> None:
        self._advance(self._random.choice(self._nodes), None)

    def _advance(self, node: _Node, batch: Events | None) -> None:
        """One step of a node that does not wait for an answer; a node that does not move is one that is paused."""
        if node.is_waiting:
            return
        if node.steps is None:
            if node.ownership is None:
                node.number += 1
                node.ownership = Ownership(SHARD, f"{node.name}/{node.number}")
                node.steps = node.ownership.take()
            else:
                node.storing = batch or self._any_batch()
                node.steps = node.ownership.store(node.storing)
            node.answer = None
        try:
            command = node.steps.send(node.answer)
        except StopIteration:
            if node.storing is not None:
                self.acknowledged |= {event.id for event in node.storing.events}
            node.steps = node.storing = None
        except LeaseLostError:
            self._drop(node)
        else:
            if isinstance(command, Unstored):
                node.answer = self._apply(command, self._now)  # needs no message
                return
            self._messages.append(_Message(command, self._now, node))
            node.is_waiting = True

    def _any_batch(self) -> Events:
        """Any events, also acknowledged ones, and also with another month: batches are cut in any way."""
        first = self._first_unacknowledged()
        ids = self._random.sample(range(max(0, first - 2), first + WINDOW), self._random.randint(1, 3))
        return Events(tuple(Event(number, self._random.choice(MONTHS)) for number in ids))

    def _first_unacknowledged(self) -> int:
        return next(number for number in itertools.count() if number not in self.acknowledged)

    def _drop(self, node: _Node) -> None:
        node.ownership = node.steps = node.storing = None
        node.is_waiting = False
        for message in self._messages:
            if message.sender is node:
                message.sender = None

    # Messages.

    def _deliver(self) -> None:
        self._deliver_one([message for message in self._messages if message.sender is not None])

    def _deliver_late(self) -> None:
        self._deliver_one([message for message in self._messages if message.sender is None])

    def _deliver_one(self, messages: list[_Message]) -> None:
        if not messages:
            return
        message = self._random.choice(messages)
        self._messages.remove(message)
        try:
            answer = self._apply(message.command, message.sent_at)
        except TimeoutError:
            if message.sender is not None:
                self._drop(message.sender)
            return
        if message.sender is not None:
            message.sender.answer, message.sender.is_waiting = answer, False

    def _lose_contact(self) -> None:
        """The sender gets an error. Its message arrives later."""
        if waiting := [message for message in self._messages if message.sender is not None]:
            sender = self._random.choice(waiting).sender
            assert sender is not None
            self._drop(sender)

    def _lose_message(self) -> None:
        if self._messages:
            message = self._messages.pop(self._random.randrange(len(self._messages)))
            if message.sender is not None:
                self._drop(message.sender)

    def _stop_node(self) -> None:
        self._drop(self._random.choice(self._nodes))

    def _back_up(self) -> None:
        self._backup = (self._lease, self._holder)

    def _restore(self) -> None:
        """All nodes are stopped, every INSERT has ended, and the leases are as they were at the backup."""
        for node in self._nodes:
            self._drop(node)
        for message in self._messages:
            if self._random.random() < 0.5:
                try:
                    self._apply(message.command, message.sent_at)
                except TimeoutError:
                    continue
        self._messages.clear()
        self._lease, self._holder = self._backup

    # The leases and the table.

    def _apply(self, command: Command, sent_at: int) -> Any:
        if isinstance(command, Acquire | Advance):
            return self._apply_to_lease(command)
        if isinstance(command, Fence | Insert):
            return self._apply_insert(command, sent_at)
        return self._read(command)

    def _apply_to_lease(self, command: Acquire | Advance) -> Lease | bool:
        if isinstance(command, Acquire):
            self._holder = command.holder  # at any time: exactness must not depend on the expiry of leases
            return self._lease
        if self.facts.compare_and_set and (command.holder, command.last) != (self._holder, self._lease.last):
            return False
        self._lease = command.to
        return True

    def _apply_insert(self, command: Fence | Insert[Events], sent_at: int) -> None:
        if isinstance(command, Insert):
            self.numbers_used_before += not self._insert(command.token, command.month, command.batch.events, sent_at)
        elif self.facts.fences:
            self.fenced += not self._insert(command.token, command.month, (), sent_at)

    def _read(self, command: Command) -> Any:
        stored = {event.id for event in self._rows}
        match command:
            case Load():
                return Ids(stored)
            case Unstored(ids=Ids(known=known), batch=batch):
                return Events(tuple(event for event in batch.events if event.id not in known))
            case AreStored(batch=batch):
                return not self.facts.read_back or {event.id for event in batch.events} <= stored
            case _:
                raise AssertionError(command)

    def _insert(self, token: str, month: int, events: Iterable[Event], sent_at: int) -> bool:
        """Whether the INSERT had an effect. Raises TimeoutError if it is late."""
        if self.facts.deadlines and self._now > sent_at + DEADLINE:
            raise TimeoutError
        used_at = self._tokens.get((token, month))
        if self.facts.tokens and used_at is not None and self._now - used_at <= TOKEN_LIFETIME:
            return False
        self._tokens[token, month] = self._now
        self._rows += [event for event in events if event.month == month]
        return True
