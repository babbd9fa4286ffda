"""The attribution API: blocks, decorators, nesting, propagation, and validation of values."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.scope import NOTHING, Attribution, Scope, active_attribution, attribution
from infraprism.schema import fields

SECRET = "sk-CANARY secret\nvalue"


def current_attribution() -> Attribution:
    return active_attribution() or NOTHING


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(attribution_scope, "warned", set())
    caplog.set_level(logging.WARNING, logger="infraprism.attribution")
    return caplog


def test_a_block_sets_the_attribution_and_resets_it() -> None:
    with attribution(customer="acme-corp", session_id="s-1", tags={"feature": "chatbot"}) as active:
        assert current_attribution() == active == Attribution("customer", "acme-corp", "s-1", (("feature", "chatbot"),))
    assert current_attribution() == NOTHING


@pytest.mark.parametrize("kind", fields.ENTITY_TYPES)
def test_each_entity_type_can_be_set(kind: str) -> None:
    with attribution(**{kind: "x"}) as active:
        assert (active.entity_type, active.entity_id) == (kind, "x")


def test_the_inner_attribution_takes_precedence_and_tags_are_merged() -> None:
    with (
        attribution(customer="outer", session_id="s", tags={"a": "1", "b": "1"}),
        attribution(team="inner", tags={"b": "2"}) as active,
    ):
        assert active == Attribution("team", "inner", "s", (("a", "1"), ("b", "2")))


def test_numbers_and_uuids_are_identifiers() -> None:
    session = UUID("550e8400-e29b-41d4-a716-446655440000")
    with attribution(customer=42, session_id=session, tags={"build": 7}) as active:
        assert active == Attribution("customer", "42", str(session), (("build", "7"),))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"customer": SECRET}, "customer"),
        ({"customer": ""}, "customer"),
        ({"customer": "x" * 257}, "customer"),
        ({"employee": True}, "employee"),
        ({"team": object()}, "team"),
        ({"session_id": b"bytes"}, "session_id"),
        ({"tags": {"_private": "x"}}, "tags"),
        ({"tags": {"key": SECRET}}, "tags"),
        ({"tags": {"key": None}}, "tags"),
        ({"tags": {None: "x"}}, "tags"),
        ({"tags": ["no", "mapping"]}, "tags"),
        ({"customer": "a", "team": "b"}, "entity"),
    ],
)
def test_an_invalid_value_is_ignored_counted_and_logged_without_the_value(
    given: dict[str, Any], field: str, warnings: pytest.LogCaptureFixture
) -> None:
    before = attribution_scope.delivery_stats.snapshot()["errors"].get(f"attribution.{field}", 0)
    with attribution(**given) as active:
        assert active == NOTHING
    with attribution(**given):
        pass
    assert attribution_scope.delivery_stats.snapshot()["errors"][f"attribution.{field}"] == before + 2
    assert len(warnings.records) == 1
    assert field in warnings.text or "tag " in warnings.text
    assert "CANARY" not in warnings.text


def test_valid_values_next_to_an_invalid_one_are_used(warnings: pytest.LogCaptureFixture) -> None:
    with attribution(customer="acme", session_id="", tags={"good": "1", "not good": "2"}) as active:
        assert active == Attribution("customer", "acme", None, (("good", "1"),))


def test_two_entities_are_ignored_and_the_outer_entity_applies(warnings: pytest.LogCaptureFixture) -> None:
    with attribution(customer="outer"), attribution(customer="a", team="b") as active:
        assert (active.entity_type, active.entity_id) == ("customer", "outer")


def test_tags_above_the_maximum_are_ignored_outer_tags_first(warnings: pytest.LogCaptureFixture) -> None:
    outer = {f"outer{n:02}": "x" for n in range(20)}
    inner = {f"inner{n:02}": "x" for n in range(20)}
    with attribution(tags=outer), attribution(tags=inner) as active:
        assert len(active.tags) == fields.MAX_TAGS
        assert set(inner) <= {key for key, _ in active.tags}


def test_an_attribution_is_immutable() -> None:
    with attribution(customer="a") as active, pytest.raises(AttributeError):
        active.entity_id = "b"  # type: ignore[misc]


def test_a_thread_starts_without_attribution_and_copy_context_propagates_it() -> None:
    found: list[Attribution] = []
    with attribution(customer="acme"), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: found.append(current_attribution())).result()
        pool.submit(contextvars.copy_context().run, lambda: found.append(current_attribution())).result()
    assert found == [NOTHING, Attribution("customer", "acme")]


def test_concurrent_threads_do_not_see_each_other() -> None:
    barrier, found = threading.Barrier(2, timeout=10), {}

    def run(name: str) -> None:
        with attribution(customer=name):
            barrier.wait()
            found[name] = current_attribution().entity_id
            barrier.wait()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == {"a": "a", "b": "b"}


def test_asyncio_tasks_keep_the_attribution_active_at_their_creation() -> None:
    async def child() -> str | None:
        await asyncio.sleep(0.01)
        with attribution(session_id="inner"):
            await asyncio.sleep(0)
        return current_attribution().entity_id

    async def main() -> list[str | None]:
        tasks = []
        for name in ("a", "b"):
            with attribution(customer=name):
                tasks.append(asyncio.ensure_future(child()))
        assert current_attribution() == NOTHING
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(main()) == ["a", "b"]


def test_it_decorates_a_function() -> None:
    @attribution(customer="acme")
    def work(a: int, *, b: int) -> tuple[int, str | None]:
        """Doc."""
        return a + b, current_attribution().entity_id

    assert work(1, b=2) == (3, "acme")
    assert work.__doc__ == "Doc."
    assert current_attribution() == NOTHING


def test_it_decorates_a_coroutine_function() -> None:
    @attribution(customer="acme")
    async def work() -> str | None:
        await asyncio.sleep(0)
        return current_attribution().entity_id

    async def main() -> list[str | None]:
        return list(await asyncio.gather(work(), work()))

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(main()) == ["acme", "acme"]


def test_it_decorates_a_generator_and_is_not_active_while_the_generator_is_suspended() -> None:
    closed = []

    @attribution(customer="acme")
    def work() -> Any:
        try:
            got = yield current_attribution().entity_id
            try:
                yield got, current_attribution().entity_id
            except KeyError:
                yield "thrown", current_attribution().entity_id
        finally:
            closed.append(current_attribution().entity_id)
        return "end"

    steps = work()
    assert (next(steps), current_attribution()) == ("acme", NOTHING)
    assert (steps.send("sent"), current_attribution()) == (("sent", "acme"), NOTHING)
    assert (steps.throw(KeyError()), current_attribution()) == (("thrown", "acme"), NOTHING)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"
    early = work()
    next(early)
    early.close()
    assert closed == ["acme", "acme"]
    assert current_attribution() == NOTHING


def test_it_decorates_an_asynchronous_generator() -> None:
    closed = []

    @attribution(customer="acme")
    async def work() -> Any:
        try:
            got = yield current_attribution().entity_id
            try:
                yield got, current_attribution().entity_id
            except KeyError:
                yield "thrown", current_attribution().entity_id
        finally:
            closed.append(current_attribution().entity_id)

    async def main() -> None:
        steps = work()
        assert (await anext(steps), current_attribution()) == ("acme", NOTHING)
        assert (await steps.asend("sent"), current_attribution()) == (("sent", "acme"), NOTHING)
        assert (await steps.athrow(KeyError()), current_attribution()) == (("thrown", "acme"), NOTHING)
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
        early = work()
        await anext(early)
        await early.aclose()

    asyncio.run(main())
    assert closed == ["acme", "acme"]


def test_a_scope_is_reusable_and_reentrant() -> None:
    scope: Scope = attribution(customer="a")
    with scope, scope:
        assert current_attribution().entity_id == "a"
    assert current_attribution() == NOTHING
    with scope:
        assert current_attribution().entity_id == "a"
    assert current_attribution() == NOTHING


def test_an_exception_is_propagated() -> None:
    with pytest.raises(ZeroDivisionError), attribution(customer="a"):
        raise ZeroDivisionError
    assert current_attribution() == NOTHING
