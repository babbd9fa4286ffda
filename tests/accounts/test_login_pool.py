"""The threads of logins are limited, and what follows a response neither fails it nor delays it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from infraprism.backend.accounts import permissions
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.audit.audit_log import OPERATOR


@pytest.fixture
def pool() -> Iterator[LoginPool]:
    made = LoginPool()
    yield made
    made.close()


def test_two_logins_run_at_a_time_and_beyond_those_that_wait_one_is_refused(pool: LoginPool) -> None:
    release, running, most = threading.Event(), threading.Semaphore(0), list[int]()
    lock, active = threading.Lock(), 0

    def hash_password() -> str:
        nonlocal active
        with lock:
            active += 1
            most.append(active)
        running.release()
        assert release.wait(30)
        with lock:
            active -= 1
        return "done"

    async def log_in() -> list[str]:
        tasks = [asyncio.create_task(pool.run(hash_password)) for _ in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await pool.run(hash_password)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
        release.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(log_in()) == ["done"] * 64
    assert max(most) == 2


def test_an_error_of_a_login_reaches_the_caller_and_frees_its_place(pool: LoginPool) -> None:
    def fail() -> None:
        raise ValueError("wrong")

    async def log_in() -> None:
        for _ in range(100):
            with pytest.raises(ValueError, match="wrong"):
                await pool.run(fail)

    asyncio.run(log_in())


def test_what_follows_a_response_is_limited_and_its_error_is_logged_without_its_text(
    pool: LoginPool, caplog: pytest.LogCaptureFixture
) -> None:
    release, done = threading.Event(), list[int]()

    def work() -> None:
        assert release.wait(30)
        done.append(1)

    def fail() -> None:
        raise ValueError("ada@example.com")

    with caplog.at_level(logging.WARNING):
        for _ in range(70):
            pool.later(work)
        release.set()
        pool.close()
        other = LoginPool()
        other.later(fail)
        other.close()
    assert len(done) == 64
    assert caplog.text.count("was dropped") == 6
    assert "ValueError" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_the_operator_is_named_as_in_the_audit_log() -> None:
    assert permissions.operator().id == OPERATOR
