"""Exporters across os.fork: the parent sends what it took in; a child starts with nothing, and sends its own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

_LONGEST_IMPORT_S: Final = 5.0


class Restarts(Protocol):
    """Something that must start over in a forked child."""

    def restart_in_child(self) -> None:
        """Called in the child's only thread. Locks of the parent may be held for ever: make new ones."""


class _Process:
    def __init__(self) -> None:
        self.importing = threading.Lock()
        self.held_by = 0  # ident of the thread that forks


_process: Final = _Process()
_members: Final[weakref.WeakSet[Restarts]] = weakref.WeakSet()


def restart_in_children(member: Restarts) -> None:
    """Have `member` started over in every child forked from now on, for as long as it lives."""
    _members.add(member)


@contextmanager
def importing() -> Iterator[None]:
    """Hold off a fork while a module is imported on our thread: a child would have half of it for ever."""
    with _process.importing:
        yield


def _before() -> None:
    # An import that takes longer is stuck itself, and the fork goes on without us.
    if _process.importing.acquire(timeout=_LONGEST_IMPORT_S):
        _process.held_by = threading.get_ident()


def _after_in_parent() -> None:
    if _process.held_by == threading.get_ident():
        _process.held_by = 0
        _process.importing.release()


def _after_in_child() -> None:
    _process.importing = threading.Lock()
    _process.held_by = 0
    for member in tuple(_members):
        member.restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
