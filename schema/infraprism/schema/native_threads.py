"""Threads, queues and locks of the operating system, also where gevent or eventlet patches the standard library.

Both replace the primitives of `threading` and `queue` by cooperative ones, before or after this module is imported. A
thread of one kind that waits for a primitive of the other kind can block forever. So everything of InfraPrism that
blocks uses this module:

- `SimpleQueue` and all locks are native ones, and `Thread` is a thread of the operating system. They never need the
  event loop of the application.
- A wait on a thread of the application calls the `sleep` of gevent or eventlet if one of them has patched the process,
  so that its event loop runs meanwhile.
- A function that may use locks of the application, such as a log handler, runs on a thread of the application.

Neither package is imported here, and a process without them waits natively.
"""

from __future__ import annotations

import os
import sys
import threading
from _queue import SimpleQueue
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Self

__all__ = [
    "Condition",
    "Event",
    "Lock",
    "ReentrantLock",
    "SimpleQueue",
    "Thread",
    "deferred",
    "run_apart",
    "run_deferred",
    "run_on_application_thread",
]

_PATCHED_MODULES: Final = ("threading", "thread", "_thread", "socket", "time")
_NATIVE_WAIT_S: Final = 0.001
"""How long a thread waits natively for a lock that is held for a moment, before it calls a cooperative sleep."""
_MIN_PAUSE_S: Final = 0.0005
_MAX_PAUSE_S: Final = 0.02


def _patched(package: str, submodule: str, function: str) -> Any:
    """The package if the application has patched the standard library by it, else None."""
    is_patched = getattr(sys.modules.get(f"{package}.{submodule}"), function, None)
    if is_patched is not None and any(is_patched(name) for name in _PATCHED_MODULES):
        return sys.modules.get(package)
    return None


def _patching_package() -> Any:
    return _patched("gevent", "monkey", "is_module_patched") or _patched("eventlet", "patcher", "is_monkey_patched")


def _native(module: str, name: str) -> Any:
    """A function of the standard library as it was before any patch."""
    if _patched("gevent", "monkey", "is_module_patched") is not None:
        return sys.modules["gevent.monkey"].get_original(module, name)
    if _patched("eventlet", "patcher", "is_monkey_patched") is not None:
        return getattr(sys.modules["eventlet.patcher"].original(module), name)
    return getattr(import_module(module), name)


_allocate_lock: Final = _native("_thread", "allocate_lock")
_get_ident: Final[Callable[[], int]] = _native("_thread", "get_ident")
_start_thread: Final = _native("_thread", "start_new_thread")
_sleep: Final[Callable[[float], None]] = _native("time", "sleep")
_monotonic: Final[Callable[[], float]] = _native("time", "monotonic")

_own_threads: Final[set[int]] = set()
"""The threads that `Thread` started. They wait natively."""
deferred: Final[deque[Callable[[], None]]] = deque(maxlen=64)
"""Functions that wait for `run_deferred`."""


def _cooperative_sleep() -> Callable[[float], object] | None:
    if _get_ident() in _own_threads:
        return None
    return getattr(_patching_package(), "sleep", None)


def run_on_application_thread(function: Callable[[], None]) -> None:
    """Call the function now, but in a patched process never on a thread that `Thread` started.

    There it waits for the next `run_deferred`. A log handler has a lock of gevent or eventlet, and a lock of eventlet
    that two threads use at the same time may block both.
    """
    if _get_ident() in _own_threads and _patching_package() is not None:
        deferred.append(function)
    else:
        function()


def run_deferred() -> None:
    """Call the functions that are deferred, unless this is a thread that `Thread` started."""
    while deferred and _get_ident() not in _own_threads:
        try:
            function = deferred.popleft()
        except IndexError:
            return  # another thread calls it
        function()


class _Pause:
    """Pauses of a thread that polls: cooperative if the process is patched."""

    def __init__(self) -> None:
        self._sleep = _cooperative_sleep() or _sleep
        self._next_s = _MIN_PAUSE_S

    def __call__(self, limit_s: float) -> None:
        pause_s = min(self._next_s, limit_s)
        self._next_s = min(2 * self._next_s, _MAX_PAUSE_S)
        try:
            self._sleep(pause_s)
        except (AssertionError, RuntimeError):
            # The caller runs in the event loop, such as a signal handler. The loop cannot run meanwhile.
            self._sleep = _sleep
            _sleep(pause_s)


def _acquire(lock: Any, timeout_s: float | None) -> bool:
    """Acquire a native lock. False after the timeout."""
    if lock.acquire(blocking=False):
        return True
    limit_s = threading.TIMEOUT_MAX if timeout_s is None else max(0.0, min(timeout_s, threading.TIMEOUT_MAX))
    if not limit_s:
        return False
    if _cooperative_sleep() is None:
        return bool(lock.acquire(timeout=limit_s))
    deadline_s = _monotonic() + limit_s
    if lock.acquire(timeout=min(limit_s, _NATIVE_WAIT_S)):
        return True
    pause = _Pause()
    while not lock.acquire(blocking=False):
        left_s = deadline_s - _monotonic()
        if left_s <= 0:
            return False
        pause(left_s)
    return True


class Lock:
    """A lock that may be held while a green thread waits for something else."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for the lock. False after the timeout; 0 does not wait."""
        return _acquire(self._lock, timeout_s)

    def release(self) -> None:
        """Release it."""
        self._lock.release()

    def __enter__(self) -> Self:
        _acquire(self._lock, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class ReentrantLock:
    """A lock for a short block that waits for nothing. The thread that holds it may take it again.

    So a signal handler or a finalizer that interrupts the block does not wait for itself. One atomic operation takes
    the lock and records its thread. An RLock has this too, but eventlet replaces each RLock of a process by its own.
    """

    def __init__(self) -> None:
        # At most one entry: the thread, and how often it holds the lock.
        self._holder: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        self.take([_get_ident(), 1])
        return self

    def take(self, held: list[int]) -> None:
        """Wait for the lock and take it as often as `release_all` returned."""
        pause: _Pause | None = None
        while (holder := self._holder.setdefault("holder", held)) is not held:
            if holder[0] == held[0]:
                holder[1] += held[1]
                return
            pause = pause or _Pause()
            pause(_NATIVE_WAIT_S)

    def release_all(self) -> list[int]:
        """Release the lock, however often its thread took it."""
        return self._holder.pop("holder")

    def __exit__(self, *_: object) -> None:
        holder = self._holder["holder"]
        if holder[1] > 1:
            holder[1] -= 1
        else:
            del self._holder["holder"]


class Event:
    """Is set once; any number of threads wait for it."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._lock.acquire()
        self.is_set = False

    def set(self) -> None:
        """Wake the threads that wait. Called once."""
        self.is_set = True
        self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set. False after the timeout."""
        if not self.is_set and _acquire(self._lock, timeout_s):
            self._lock.release()
        return self.is_set


class Condition(ReentrantLock):
    """A reentrant lock whose holder can wait until another thread changes something."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Any] = deque()

    def wait(self, timeout_s: float | None = None) -> None:
        """Release the lock, wait for `notify_all` or the timeout, and take the lock again."""
        waiter = _allocate_lock()
        waiter.acquire()
        self._waiting.append(waiter)
        held = self.release_all()
        try:
            _acquire(waiter, timeout_s)
        finally:
            self.take(held)
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the predicate is true. Returns what it is after the timeout."""
        deadline_s = _monotonic() + timeout_s
        while not predicate():
            left_s = deadline_s - _monotonic()
            if left_s <= 0:
                return predicate()
            self.wait(left_s)
        return True

    def notify_all(self) -> None:
        """Wake all threads that wait."""
        while self._waiting:
            self._waiting.popleft().release()


class Thread:
    """A daemon thread of the operating system."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._name = name
        self._ident = 0
        self._ended = Event()

    def start(self) -> None:
        """Start it. Raises RuntimeError if the interpreter starts no more threads."""
        if _patching_package() is None:
            threading.Thread(target=self._run_registered, name=self._name, daemon=True).start()
        else:
            _start_thread(self._run, ())

    def _run_registered(self) -> None:
        self._run()
        if _patching_package() is not None:
            # `threading` would look the thread up by an identifier that the patch has changed, and report an error.
            never = _allocate_lock()
            never.acquire()
            never.acquire()

    def _run(self) -> None:
        self._ident = _get_ident()
        _own_threads.add(self._ident)
        try:
            self._target()
        finally:
            _own_threads.discard(self._ident)
            self._ident = 0
            self._ended.set()

    @property
    def is_current(self) -> bool:
        """Whether it is the calling thread."""
        return self._ident == _get_ident()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, or for the timeout."""
        self._ended.wait(timeout_s)


def run_apart(function: Callable[[], None]) -> None:
    """Call the function now, in a patched process on a thread of its own, without waiting for it.

    It may then wait for a lock that a thread of the other kind holds.
    """
    if _patching_package() is None:
        function()
    else:
        with suppress(RuntimeError):  # the interpreter starts no more threads
            Thread(function, "infraprism-abort").start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own_threads.clear)
    os.register_at_fork(after_in_child=deferred.clear)
