"""Locks and threads in a process that is not patched. Patched processes are in tests/zero_code."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from infraprism.schema import native_threads
from infraprism.schema.native_threads import Condition, Event, Lock, ReentrantLock, Thread, run_deferred

SOON_S = 10.0


def test_a_thread_runs_its_target_as_a_named_daemon_and_then_it_has_ended() -> None:
    seen: list[tuple[str, bool, bool]] = []

    def target() -> None:
        current = threading.current_thread()
        seen.append((current.name, current.daemon, thread.is_current))

    thread = Thread(target, "worker")
    thread.start()
    thread.join(SOON_S)

    assert seen == [("worker", True, True)]
    assert not thread.is_alive()
    assert not thread.is_current


def test_a_lock_is_held_by_one_thread_at_a_time_and_a_wait_for_it_ends() -> None:
    lock = Lock()
    with lock:
        assert not lock.acquire(0)
        assert not lock.acquire(0.01)
    assert lock.acquire(0)
    lock.release()


def test_the_thread_that_holds_a_reentrant_lock_takes_it_again_and_no_other_thread_does() -> None:
    lock, entered, order = ReentrantLock(), Event(), list[str]()

    def other() -> None:
        entered.set()
        with lock:
            order.append("other")

    thread = Thread(other, "other")
    with lock, lock:
        thread.start()
        assert entered.wait(SOON_S)
        with lock:
            order.append("inner")
        order.append("outer")
    thread.join(SOON_S)

    assert order == ["inner", "outer", "other"]


def test_counts_of_many_threads_under_a_reentrant_lock_are_exact() -> None:
    lock, counts = ReentrantLock(), {"total": 0}

    def count() -> None:
        for _ in range(2000):
            with lock, lock:
                counts["total"] = counts["total"] + 1

    threads = [Thread(count, "counter") for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert counts == {"total": 8000}


def test_a_wait_on_a_condition_releases_every_level_of_its_lock_and_takes_them_again() -> None:
    condition, ready = Condition(), list[int]()

    def notify() -> None:
        with condition:
            ready.append(1)
            condition.notify_all()

    thread = Thread(notify, "notifier")
    with condition, condition:
        thread.start()
        assert condition.wait_for(lambda: bool(ready), SOON_S)
    with condition:
        pass
    thread.join(SOON_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
def test_a_wait_on_a_condition_that_does_not_change_ends_at_its_timeout(timeout_s: float) -> None:
    condition = Condition()
    with condition:
        assert not condition.wait_for(lambda: False, timeout_s)
        condition.wait(timeout_s)
        condition.notify_all()


def test_all_threads_that_wait_for_an_event_are_woken() -> None:
    event, woken = Event(), list[bool]()
    threads = [Thread(lambda: woken.append(event.wait(SOON_S)), "waiter") for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not event.wait(0.01)

    event.set()
    for thread in threads:
        thread.join(SOON_S)

    assert woken == [True, True, True]
    assert event.wait(0)


@pytest.mark.parametrize("patched", [False, True])
def test_a_log_call_of_our_thread_runs_on_a_thread_of_the_application_if_the_process_is_patched(
    patched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if patched:
        monkey = SimpleNamespace(is_module_patched=lambda _: True)
        monkeypatch.setitem(sys.modules, "gevent", SimpleNamespace(monkey=monkey, sleep=time.sleep))
        monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    ran_on: list[bool] = []

    def log() -> None:
        ran_on.append(thread.is_current)

    def target() -> None:
        native_threads.run_on_application_thread(log)
        run_deferred()

    thread = Thread(target, "worker")
    thread.start()
    thread.join(SOON_S)
    assert ran_on == ([] if patched else [True])

    run_deferred()

    assert ran_on == [not patched]
