"""The contract matrix: whatever becomes of a call, an instrumented application sees and does what a bare one does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import traceback
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from opentelemetry import context as otel_context
from tests.instrumentation.conftest import Recorded
from tests.kit.client_calls import WAYS, Way, client, httpx, used
from tests.kit.reading import all_of, items, reading, shown, value

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.call import delivery_stats
from infraprism.local_provider import Exchange, LocalProvider
from infraprism.schema.call_context import call_in_progress

MODELS = {"openai": "gpt-4o-mini-chunks3", "anthropic": "claude-haiku-4-5-chunks3"}
LOGGERS = ("openai", "anthropic", "httpx", "httpx2", "asyncio")
SAID_ANEW = ("date", "idempotency", "x-stainless-read-timeout", "x-stainless-timeout", "host")


async def breaks_off(stream: Any) -> list[Any]:
    async for item in items(stream):
        return [item]
    return []


async def breaks_off_and_closes(stream: Any) -> list[Any]:
    seen = await breaks_off(stream)
    close = getattr(stream, "close", None) or getattr(stream, "aclose", None)
    return seen if close is None else [*seen, await value(close())]


async def fails_in_the_consumer(stream: Any) -> list[Any]:
    async for item in items(stream):
        raise ZeroDivisionError(type(item).__name__)
    return []


async def does_not_read(stream: Any) -> list[Any]:
    return [type(stream)]


async def is_cancelled_while_reading(stream: Any) -> list[Any]:
    async for _ in items(stream):
        asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        await asyncio.sleep(0)
    return []


async def looks_around(stream: Any) -> list[Any]:
    """Read all, and see with every chunk what is attached to the context that it arrives in."""
    seen = []
    async for item in items(stream):
        names = sorted(variable.name for variable in contextvars.copy_context())
        seen += [item, names, not call_in_progress.get(), dict(otel_context.get_current())]
    return seen


class Ending(NamedTuple):
    """What becomes of a call: by the model's name, the client's timeout, or the way its stream is read.

    `cancelled`: its task is, while it waits for an answer. `exact`: the same bytes arrive whenever it happens.
    """

    marker: str = ""
    read: Callable[[Any], Awaitable[list[Any]]] = all_of
    read_timeout_s: float = 20.0
    cancelled: bool = False
    exact: bool = True


ANY_CALL = {
    "answered": Ending(),
    "refused": Ending("-err429"),
    "retried": Ending("-retry429"),
    "cut": Ending("-drop"),
    "timed_out": Ending("-hang", read_timeout_s=0.1, exact=False),
}
ASYNC = {"cancelled": Ending("-hang", cancelled=True, exact=False)}
STREAMED = {
    "looked_around_in": Ending(read=looks_around),
    "failed_inside": Ending("-stream-error"),
    "broken_off": Ending(read=breaks_off, exact=False),
    "broken_off_and_closed": Ending(read=breaks_off_and_closes, exact=False),
    "failed_in_the_consumer": Ending(read=fails_in_the_consumer, exact=False),
    "never_read": Ending(read=does_not_read, exact=False),
}
ASYNC_STREAMED = {"cancelled_while_reading": Ending(read=is_cancelled_while_reading, exact=False)}


def endings(way: Way, *, asynchronous: bool) -> dict[str, Ending]:
    found = dict(ANY_CALL)
    for condition, more in (
        (asynchronous, ASYNC),
        (way.streamed, STREAMED),
        (way.streamed and asynchronous, ASYNC_STREAMED),
    ):
        found |= more if condition else {}
    return found


class App:
    """An application with one client, and all that it can notice of one call."""

    def __init__(self, way: Way, provider: LocalProvider, *, asynchronous: bool) -> None:
        self._way = way
        self._provider = provider
        self._asynchronous = asynchronous
        self._responses: list[Any] = []
        self._logged: list[object] = []
        self._unhandled: list[object] = []

    async def run(self, recorded: Recorded | None) -> dict[str, object]:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: self._unhandled.append(about["message"]))
        opened = client(self._way.package, self._provider, asynchronous=self._asynchronous)
        http = opened._client
        http.event_hooks = {"response": [self._take_async if self._asynchronous else self._take]}
        logger = Listener(self._logged)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(logger)
            logging.getLogger(name).setLevel(logging.DEBUG)
            logging.getLogger(name).propagate = False  # pytest keeps records, and with them frames and what they hold
        try:
            async with used(opened):
                return {
                    name: await self._end(opened, ending, recorded)
                    for name, ending in endings(self._way, asynchronous=self._asynchronous).items()
                }
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(logger)
                logging.getLogger(name).setLevel(logging.NOTSET)
                logging.getLogger(name).propagate = True

    async def _end(self, opened: Any, ending: Ending, recorded: Recorded | None) -> dict[str, object]:
        for kept in (self._responses, self._logged, self._unhandled):
            kept.clear()
        self._provider.clear()
        retries = 1 if "retry" in ending.marker else 0
        changed = opened.with_options(max_retries=retries, timeout=httpx.Timeout(20.0, read=ending.read_timeout_s))
        context = dict(otel_context.get_current())
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            reading.set(ending.read)
            model = MODELS[self._way.package] + ending.marker
            got = await self._got(changed, model, cancelled=ending.cancelled)
            for _ in range(10):  # the event loop closes what was dropped one by one
                await asyncio.sleep(0)
            gc.collect()
        facts = [fact for found in self._responses if (fact := self._facts(found(), ending))]
        assert not call_in_progress.get()
        assert dict(otel_context.get_current()) == context
        if recorded is not None:
            assert len(recorded.spans) == 1, recorded.spans
            recorded.clear()
        return {
            "got": got,
            "warned": sorted({(kind.category, shown(str(kind.message))) for kind in warned}, key=repr),
            "logged": list(self._logged) if ending.exact else [],
            "unhandled": list(self._unhandled),
            "responses": facts,
            "requests": [_sent(one) for one in self._provider.exchanges if one.truth.model_asked == model]
            if ending.exact
            else [],  # a call that was given up may arrive late
        }

    async def _got(self, opened: Any, model: str, *, cancelled: bool) -> object:
        """What the call returns or raises, with all that is shown of it in a log."""
        task = asyncio.current_task()
        assert task is not None
        canceller = asyncio.create_task(self._cancel(task)) if cancelled else None
        try:
            return [shown(seen) for seen in await self._way.run(opened, model)]
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it must be the same
            if isinstance(error, asyncio.CancelledError):
                task.uncancel()
            around = [error, error.__cause__, error.__context__, error.__suppress_context__]
            return [shown(one) for one in around], _place(error), shown(error.args), sorted(vars(error))
        finally:
            if canceller is not None:
                await canceller

    async def _cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel the task when its request was sent and it does nothing but wait."""
        while not self._provider.calls:  # noqa: ASYNC110 - other threads answer
            await asyncio.sleep(0.01)
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()

    def _take(self, response: Any) -> None:
        self._responses.append(weakref.ref(response))

    async def _take_async(self, response: Any) -> None:
        self._take(response)

    @staticmethod
    def _facts(response: Any, ending: Ending) -> list[object]:
        """What an HTTP response says of itself; where the application let go of it, it must be gone."""
        if response is None:
            return ["gone"]
        facts = [repr(response), response.is_closed, response.is_stream_consumed, type(response.stream).__name__]
        return [*facts, response.num_bytes_downloaded, hasattr(response, "_content")] if ending.exact else facts


class Listener(logging.Handler):
    def __init__(self, into: list[object]) -> None:
        super().__init__()
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append((record.name, record.levelname, record.funcName, shown(record.getMessage())))


def _place(error: BaseException) -> object:
    """Where it was raised: the last frame, as a log shows it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename, last.lineno, last.name


def _sent(exchange: Exchange) -> object:
    headers = [(name, text) for name, text in exchange.headers if not name.lower().startswith(SAID_ANEW)]
    return exchange.method, exchange.path, headers, exchange.request


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "_"))
def test_an_app_sees_and_sends_the_same_whatever_becomes_of_its_call(
    way: Way, asynchronous: bool, provider: LocalProvider
) -> None:
    bare = asyncio.run(App(way, provider, asynchronous=asynchronous).run(None))
    before = delivery_stats.snapshot()["errors"]
    recorded = Recorded()
    instrument(recorded.provider)
    seen = asyncio.run(App(way, provider, asynchronous=asynchronous).run(recorded))
    uninstrument()
    for ending, told in bare.items():
        assert seen[ending] == told, ending
    assert seen.keys() == bare.keys()
    assert delivery_stats.snapshot()["errors"] == before
