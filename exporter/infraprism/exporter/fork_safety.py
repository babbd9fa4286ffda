"""Exporters across os.fork: the parent sends the events that it accepted, a child starts with none."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from infraprism.schema.native_threads import Condition

_MAX_WAIT_S: Final = 1.0
"""A fork of the application is delayed by at most this, whatever the endpoint does."""


class RestartsInChild(Protocol):
    """An object that must start over in a forked child."""

    def restart_in_child(self) -> None:
        """Called in the child's only thread. Locks of the parent may stay held, so new ones are needed."""


class _ForkBarrier:
    """Lets any number of threads hold off a fork, and a fork wait for them, both for _MAX_WAIT_S at most."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.holders = 0
        self.forking = 0


_barrier = _ForkBarrier()
_members: Final[weakref.WeakSet[RestartsInChild]] = weakref.WeakSet()


def restart_in_children(member: RestartsInChild) -> None:
    """Call `member.restart_in_child` in every child forked from now on, as long as the object exists."""
    _members.add(member)


@contextmanager
def fork_barrier() -> Iterator[None]:
    """Hold off a fork, for _MAX_WAIT_S at most, while a child would inherit an inconsistent state.

    Such as a half-imported module, or a gRPC library whose locks are held.
    """
    barrier = _barrier
    with barrier.changed:
        barrier.changed.wait_for(lambda: not barrier.forking, _MAX_WAIT_S)
        barrier.holders += 1
    try:
        yield
    finally:
        with barrier.changed:
            barrier.holders -= 1
            barrier.changed.notify_all()


def _before() -> None:
    with _barrier.changed:
        _barrier.changed.wait_for(lambda: not _barrier.holders, _MAX_WAIT_S)
        _barrier.forking += 1


def _after_in_parent() -> None:
    with _barrier.changed:
        _barrier.forking -= 1
        _barrier.changed.notify_all()


def _after_in_child() -> None:
    global _barrier  # noqa: PLW0603  # the parent's lock may stay held
    _barrier = _ForkBarrier()
    for member in tuple(_members):
        member.restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
