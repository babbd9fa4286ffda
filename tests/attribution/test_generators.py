"""Attribution in generators: blocks in their bodies, decorated functions, context managers and frameworks."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.generators import open_generators
from infraprism.attribution.scope import active_attribution, attribution


def customer() -> str | None:
    active = active_attribution()
    return None if active is None else active.entity_id


def block(name: str) -> Iterator[str | None]:
    with attribution(customer=name):
        yield customer()
        yield customer()


@attribution(customer="decorated")
def decorated() -> Iterator[str | None]:
    yield customer()
    yield customer()


async def block_later(name: str) -> AsyncIterator[str | None]:
    with attribution(customer=name):
        await asyncio.sleep(0)
        yield customer()
        await asyncio.sleep(0)
        yield customer()


@pytest.fixture(autouse=True)
def _nothing_remains() -> Iterator[None]:
    yield
    gc.collect()
    assert (open_generators, customer()) == ({}, None)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(attribution_scope, "warned_generators", set())
    caplog.set_level(logging.WARNING, logger="infraprism.attribution")
    return caplog


def test_a_block_in_a_generator_does_not_apply_to_its_consumer() -> None:
    assert [(found, customer()) for found in block("a")] == [("a", None), ("a", None)]


@pytest.mark.parametrize("function", [lambda: block("decorated"), decorated], ids=["block", "decorator"])
def test_two_generators_that_are_interleaved_keep_their_own_attribution(
    function: Callable[[], Iterator[str | None]],
) -> None:
    assert list(zip(function(), block("b"), strict=False)) == [("decorated", "b"), ("decorated", "b")]


def test_generators_may_be_closed_in_any_order() -> None:
    first, second = block("a"), block("b")
    assert (next(first), next(second)) == ("a", "b")
    first.close()
    assert (next(second), customer()) == ("b", None)
    second.close()


def test_a_block_applies_to_the_handlers_of_thrown_exceptions_and_of_close() -> None:
    found = []

    def work() -> Iterator[None]:
        with attribution(customer="a"):
            try:
                yield
            except KeyError:
                found.append(customer())
            try:
                yield
            finally:
                found.append(customer())

    steps = work()
    next(steps)
    steps.throw(KeyError())
    steps.close()
    assert found == ["a", "a"]


def test_the_consumers_own_block_applies_between_the_steps() -> None:
    steps = block("a")
    assert next(steps) == "a"
    with attribution(customer="consumer"):
        assert (next(steps), customer()) == ("a", "consumer")
    steps.close()


def test_blocks_of_generators_nest() -> None:
    def outer() -> Iterator[tuple[str | None, str | None]]:
        with attribution(customer="outer"):
            for inner in block("inner"):
                yield inner, customer()

    def delegating() -> Iterator[str | None]:
        with attribution(customer="outer"):
            yield from decorated()
            yield customer()

    assert list(outer()) == [("inner", "outer")] * 2
    assert list(delegating()) == ["decorated", "decorated", "outer"]


def test_a_function_that_a_generator_calls_may_enter_a_block() -> None:
    def call() -> str | None:
        with attribution(session_id="s"):
            active = active_attribution()
            assert active is not None
            return f"{active.entity_id} {active.session_id}"

    def work() -> Iterator[tuple[str | None, str | None]]:
        with attribution(customer="a"):
            yield call(), customer()

    assert [(found, customer()) for found in work()] == [(("a s", "a"), None)]


def test_a_generator_keeps_its_attribution_when_each_step_runs_in_another_context_and_thread() -> None:
    steps = block("a")
    with ThreadPoolExecutor(1) as pool:
        found = [pool.submit(contextvars.copy_context().run, next, steps).result() for _ in range(2)]
    assert found == ["a", "a"]
    steps.close()


def test_a_thread_that_a_running_generator_waits_for_has_its_attribution() -> None:
    def work() -> Iterator[str | None]:
        with attribution(customer="a"), ThreadPoolExecutor(1) as pool:
            yield pool.submit(contextvars.copy_context().run, customer).result()

    steps = work()
    assert next(steps) == "a"
    assert contextvars.copy_context().run(customer) is None
    steps.close()


def test_a_generator_that_is_never_finished_leaves_nothing_behind() -> None:
    for name in ("a", "b"):
        next(block(name))
    gc.collect()
    assert open_generators == {}


def test_asynchronous_generators_that_are_merged_in_one_task_keep_their_own_attribution() -> None:
    async def main() -> list[str | None]:
        first, second = block_later("a"), block_later("b")
        found = []
        for _ in range(2):
            found += [await anext(first), customer(), await anext(second), customer()]
        await first.aclose()  # type: ignore[attr-defined]
        await second.aclose()  # type: ignore[attr-defined]
        return found

    assert asyncio.run(main()) == ["a", None, "b", None] * 2


def test_tasks_that_an_asynchronous_generator_waits_for_have_its_attribution_and_those_of_its_consumer_not() -> None:
    async def call() -> str | None:
        await asyncio.sleep(0)
        return customer()

    async def work() -> AsyncIterator[list[str | None]]:
        with attribution(customer="a"):
            yield await asyncio.gather(call(), call())
            yield [await asyncio.to_thread(customer)]

    async def main() -> list[tuple[list[str | None], str | None]]:
        return [(found, await asyncio.create_task(call())) async for found in work()]

    assert asyncio.run(main()) == [(["a", "a"], None), (["a"], None)]


def test_an_asynchronous_generator_that_is_never_finished_leaves_nothing_behind() -> None:
    async def main() -> str | None:
        await anext(block_later("a"))
        await asyncio.sleep(0)
        return customer()

    assert asyncio.run(main()) is None


def test_decorated_asynchronous_generators_can_be_merged_thrown_into_and_closed() -> None:
    found: list[str | None] = []

    def made(name: str) -> Any:
        @attribution(customer=name)
        async def work() -> Any:
            try:
                while True:
                    try:
                        await asyncio.sleep(0)
                        yield customer()
                    except KeyError:
                        found.append(customer())
            finally:
                await asyncio.sleep(0)
                found.append(customer())

        return work()

    async def main() -> None:
        first, second = made("a"), made("b")
        for _ in range(2):
            assert (await anext(first), await anext(second), customer()) == ("a", "b", None)
        assert await first.athrow(KeyError()) == "a"
        await second.aclose()
        await first.aclose()

    asyncio.run(main())
    assert found == ["a", "b", "a"]


def test_a_generator_of_a_context_manager_sets_the_attribution_of_its_caller(
    warnings: pytest.LogCaptureFixture,
) -> None:
    @contextmanager
    def tenant(name: str) -> Iterator[None]:
        with attribution(customer=name):
            yield

    @asynccontextmanager
    async def tenant_later(name: str) -> AsyncIterator[None]:
        with attribution(customer=name):
            yield

    async def main() -> None:
        async with tenant_later("a"):
            assert customer() == "a"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tenant_later("b"))
            stack.enter_context(tenant("c"))
            assert customer() == "c"
        assert customer() is None

    with tenant("a"), tenant("b"):
        assert customer() == "b"
    with ExitStack() as stack:
        stack.enter_context(tenant("a"))
        stack.enter_context(attribution(customer="b"))
        assert customer() == "b"
    asyncio.run(main())
    assert (customer(), warnings.records) == (None, [])


def test_a_context_manager_that_a_generator_enters_belongs_to_the_generator() -> None:
    @contextmanager
    def tenant() -> Iterator[None]:
        with attribution(customer="a"):
            yield

    class Tenant:
        def __enter__(self) -> None:
            self.scope = attribution(customer="a")
            self.scope.__enter__()

        def __exit__(self, *error: object) -> None:
            self.scope.__exit__(None, None, None)

    def managed() -> Iterator[str | None]:
        with tenant():
            yield customer()
        with ExitStack() as stack:
            stack.enter_context(attribution(customer="b"))
            yield customer()
        with Tenant():
            yield customer()
        yield customer()

    assert [(found, customer()) for found in managed()] == [("a", None), ("b", None), ("a", None), (None, None)]


@pytest.fixture
def tenant_of_test() -> Iterator[None]:
    with attribution(customer="fixture"):
        yield


def test_a_fixture_of_pytest_sets_the_attribution_of_its_test(
    warnings: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    assert customer() is None
    request.getfixturevalue("tenant_of_test")
    assert (customer(), warnings.records) == ("fixture", [])


def test_a_block_in_a_generator_is_logged_once_with_its_place_and_without_values(
    warnings: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        assert list(block("CANARY")) == ["CANARY"] * 2
    assert list(decorated()) == ["decorated"] * 2
    (record,) = warnings.records
    line = block.__code__.co_firstlineno
    assert f"the generator block ({__file__}:{line}) enters attribution()" in record.getMessage()
    assert "CANARY" not in record.getMessage()


def test_a_coroutine_with_a_block_is_not_logged(warnings: pytest.LogCaptureFixture) -> None:
    async def work() -> str | None:
        with attribution(customer="a"):
            await asyncio.sleep(0)
            return customer()

    assert asyncio.run(work()) == "a"
    assert warnings.records == []


def test_threads_that_advance_different_generators_do_not_see_each_other() -> None:
    barrier, found = threading.Barrier(2, timeout=10), {}

    def run(name: str) -> None:
        steps = block(name)
        next(steps)
        barrier.wait()
        found[name] = (next(steps), customer())
        steps.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == {"a": ("a", None), "b": ("b", None)}
