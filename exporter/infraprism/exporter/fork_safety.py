"""Exporters across os.fork: the parent sends what it took in; a child starts with nothing, and sends its own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

_LONGEST_WAIT_S: Final = 1.0
"""An application's fork is not held up for longer, whatever an endpoint does."""


class Restarts(Protocol):
    """Something that must start over in a forked child."""

    def restart_in_child(self) -> None:
        """Called in the child's only thread. Locks of the parent may be held for ever: make new ones."""


class _Gate:
    """Lets any number of threads do what a fork must not cut in two, and a fork wait for them, within a bound."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = 0
        self.forking = 0


_gate = _Gate()
_members: Final[weakref.WeakSet[Restarts]] = weakref.WeakSet()


def restart_in_children(member: Restarts) -> None:
    """Have `member` started over in every child forked from now on, for as long as it lives."""
    _members.add(member)


@contextmanager
def fork_barrier() -> Iterator[None]:
    """Hold off a fork, for a second at most, while a child would inherit half of something.

    Half an imported module, or a gRPC library whose locks are held for ever.
    """
    gate = _gate
    with gate.changed:
        gate.changed.wait_for(lambda: not gate.forking, _LONGEST_WAIT_S)
        gate.inside += 1
    try:
        yield
    finally:
        with gate.changed:
            gate.inside -= 1
            gate.changed.notify_all()


def _before() -> None:
    with _gate.changed:
        _gate.changed.wait_for(lambda: not _gate.inside, _LONGEST_WAIT_S)
        _gate.forking += 1


def _after_in_parent() -> None:
    with _gate.changed:
        _gate.forking -= 1
        _gate.changed.notify_all()


def _after_in_child() -> None:
    global _gate  # noqa: PLW0603  # the parent's lock may be held for ever
    _gate = _Gate()
    for member in tuple(_members):
        member.restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
