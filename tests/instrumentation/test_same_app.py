"""The contract matrix: an application behaves the same with and without instrumentation, for every outcome."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import traceback
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from opentelemetry import context as otel_context
from tests.kit import client_calls
from tests.kit.client_calls import WAYS, Way, client, http_client, httpx, used
from tests.kit.reading import all_of, items, reading, shown, until, value
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.llm_call import delivery_stats
from infraprism.local_provider import Exchange, LocalProvider
from infraprism.schema.call_context import call_in_progress

MODELS = {"openai": "gpt-4o-mini-chunks3", "anthropic": "claude-haiku-4-5-chunks3"}
LOGGERS = ("openai", "anthropic", "httpx", "httpx2", "asyncio")
VOLATILE_HEADERS = ("date", "idempotency", "x-stainless-read-timeout", "x-stainless-timeout", "host")


async def breaks(stream: Any) -> list[Any]:
    async for item in items(stream):
        return [item]
    return []


async def breaks_and_closes(stream: Any) -> list[Any]:
    received = await breaks(stream)
    close = getattr(stream, "close", None) or getattr(stream, "aclose", None)
    return received if close is None else [*received, await value(close())]


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


async def records_context(stream: Any) -> list[Any]:
    """Read all, and record the context variables at every chunk."""
    received = []
    async for item in items(stream):
        names = sorted(variable.name for variable in contextvars.copy_context())
        received += [item, names, not call_in_progress.get(), dict(otel_context.get_current())]
    return received


class Outcome(NamedTuple):
    """The outcome of a call, by a marker in the model's name, the client's timeout, or how its stream is read.

    `cancelled`: the task is cancelled while it waits for the response. `exact`: the same bytes arrive every time.
    """

    marker: str = ""
    read: Callable[[Any], Awaitable[list[Any]]] = all_of
    read_timeout_s: float = 20.0
    cancelled: bool = False
    exact: bool = True


ANY_CALL = {
    "succeeded": Outcome(),
    "rejected": Outcome("-err429"),
    "retried": Outcome("-retry429"),
    "truncated": Outcome("-drop"),
    "timed_out": Outcome("-hang", read_timeout_s=0.1, exact=False),
}
ASYNC = {"cancelled": Outcome("-hang", cancelled=True, exact=False)}
STREAMED = {
    "context_recorded": Outcome(read=records_context),
    "error_event": Outcome("-stream-error"),
    "broken": Outcome(read=breaks, exact=False),
    "broken_and_closed": Outcome(read=breaks_and_closes, exact=False),
    "failed_in_the_consumer": Outcome(read=fails_in_the_consumer, exact=False),
    "never_read": Outcome(read=does_not_read, exact=False),
}
ASYNC_STREAMED = {"cancelled_while_reading": Outcome(read=is_cancelled_while_reading, exact=False)}


def outcomes(way: Way, *, asynchronous: bool) -> dict[str, Outcome]:
    found = dict(ANY_CALL)
    for condition, more in (
        (asynchronous, ASYNC),
        (way.streamed, STREAMED),
        (way.streamed and asynchronous, ASYNC_STREAMED),
    ):
        found |= more if condition else {}
    return found


class App:
    """An application with one client, and everything that it can observe of one call."""

    def __init__(self, way: Way, provider: LocalProvider, *, asynchronous: bool) -> None:
        self._way = way
        self._provider = provider
        self._asynchronous = asynchronous
        self._responses: list[Any] = []
        self._logged: list[object] = []
        self._unhandled: list[object] = []
        self.attributes: dict[str, Any] = {}

    async def run(self, recorded: RecordedSpans | None) -> dict[str, object]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._unhandled.append(context["message"]))
        http = http_client(self._way.package, asynchronous=self._asynchronous)
        http.event_hooks = {"response": [self._add_async if self._asynchronous else self._add]}
        opened = client(self._way.package, self._provider, asynchronous=self._asynchronous, http_client=http)
        logger = Listener(self._logged)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(logger)
            logging.getLogger(name).setLevel(logging.DEBUG)
            logging.getLogger(name).propagate = False  # the log records of pytest keep frames alive
        try:
            async with used(opened):
                return {
                    name: await self._outcome(opened, outcome, recorded)
                    for name, outcome in outcomes(self._way, asynchronous=self._asynchronous).items()
                }
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(logger)
                logging.getLogger(name).setLevel(logging.NOTSET)
                logging.getLogger(name).propagate = True

    async def _outcome(self, opened: Any, outcome: Outcome, recorded: RecordedSpans | None) -> dict[str, object]:
        for records in (self._responses, self._logged, self._unhandled):
            records.clear()
        self._provider.clear()
        retries = 1 if "retry" in outcome.marker else 0
        changed = opened.with_options(max_retries=retries, timeout=httpx.Timeout(20.0, read=outcome.read_timeout_s))
        context = dict(otel_context.get_current())
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            reading.set(outcome.read)
            model = MODELS[self._way.package] + outcome.marker
            result = await self._result(changed, model, cancelled=outcome.cancelled)
            for _ in range(10):  # the event loop closes one dropped generator per iteration
                await asyncio.sleep(0)
            gc.collect()
        facts = [fact for found in self._responses if (fact := self._facts(found(), outcome))]
        assert not call_in_progress.get()
        assert dict(otel_context.get_current()) == context
        if recorded is not None:
            assert len(recorded.spans) == 1, recorded.spans
            if outcome == Outcome():
                self.attributes = dict(recorded.spans[0].attributes or {})
            recorded.clear()
        return {
            "result": result,
            "warned": sorted({(kind.category, shown(str(kind.message))) for kind in warned}, key=repr),
            "logged": list(self._logged) if outcome.exact else [],
            "unhandled": list(self._unhandled),
            "responses": facts,
            "requests": [_sent(each) for each in self._provider.exchanges if each.record.request_model == model]
            if outcome.exact
            else [],  # the request of a cancelled call may arrive late
        }

    async def _result(self, opened: Any, model: str, *, cancelled: bool) -> object:
        """What the call returns or raises, with everything that a log shows of it."""
        task = asyncio.current_task()
        assert task is not None
        canceller = asyncio.create_task(self._cancel(task)) if cancelled else None
        try:
            return [shown(value) for value in await self._way.run(opened, model)]
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any error must be the same
            if isinstance(error, asyncio.CancelledError):
                task.uncancel()
            chain = [error, error.__cause__, error.__context__, error.__suppress_context__]
            return [shown(each) for each in chain], _place(error), shown(error.args), sorted(vars(error))
        finally:
            if canceller is not None:
                await canceller

    async def _cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel the task when its request was received and it waits for the response."""
        await until(lambda: self._provider.calls)
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()

    def _add(self, response: Any) -> None:
        self._responses.append(weakref.ref(response))

    async def _add_async(self, response: Any) -> None:
        self._add(response)

    @staticmethod
    def _facts(response: Any, outcome: Outcome) -> list[object]:
        """The state of an HTTP response, or "gone" if it was garbage-collected."""
        if response is None:
            return ["gone"]
        facts = [repr(response), response.is_closed, response.is_stream_consumed, type(response.stream).__name__]
        return [*facts, response.num_bytes_downloaded, hasattr(response, "_content")] if outcome.exact else facts


class Listener(logging.Handler):
    def __init__(self, into: list[object]) -> None:
        super().__init__()
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append((record.name, record.levelname, record.funcName, shown(record.getMessage())))


def _place(error: BaseException) -> object:
    """The frame that raised the error, as a log shows it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename, last.lineno, last.name


def _sent(exchange: Exchange) -> object:
    headers = [(name, text) for name, text in exchange.headers if not name.lower().startswith(VOLATILE_HEADERS)]
    return exchange.method, exchange.path, headers, exchange.request


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "_"))
def test_an_instrumented_application_receives_and_sends_the_same_for_every_outcome(
    way: Way, asynchronous: bool, provider: LocalProvider
) -> None:
    bare = asyncio.run(App(way, provider, asynchronous=asynchronous).run(None))
    before = delivery_stats.snapshot()["errors"]
    recorded = RecordedSpans()
    instrument(recorded.provider)
    instrumented = asyncio.run(App(way, provider, asynchronous=asynchronous).run(recorded))
    uninstrument()
    for outcome, observed in bare.items():
        assert instrumented[outcome] == observed, outcome
    assert instrumented.keys() == bare.keys()
    assert delivery_stats.snapshot()["errors"] == before


STREAMS_WITHOUT_USAGE = [
    way
    for way in WAYS
    if way.streamed and way.package == "openai" and way.operation in ("chat", "completion") and way.name[:4] != "post"
]


def without_the_request_for_usage(observed: dict[str, Any]) -> dict[str, Any]:
    """What the application observes, except the parameter in the request itself, which a debug log shows too."""
    requests = [
        (method, path, [header for header in headers if header[0].lower() != "content-length"], without_option(body))
        for method, path, headers, body in observed["requests"]
    ]
    logged = [record for record in observed["logged"] if not str(record[-1]).startswith("Request options")]
    return {**observed, "requests": requests, "logged": logged}


def without_option(body: Any) -> Any:
    return {name: value for name, value in json.loads(body).items() if name != "stream_options"}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", STREAMS_WITHOUT_USAGE, ids=lambda way: way.name.replace(" ", "_"))
def test_an_application_whose_streams_are_asked_for_usage_receives_the_same_for_every_outcome(
    way: Way, asynchronous: bool, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_calls, "USAGE", {})
    bare = asyncio.run(App(way, provider, asynchronous=asynchronous).run(None))
    before = delivery_stats.snapshot()["errors"]
    recorded = RecordedSpans()
    monkeypatch.setenv("INFRAPRISM_STREAM_USAGE", "true")
    instrument(recorded.provider)
    app = App(way, provider, asynchronous=asynchronous)
    instrumented = asyncio.run(app.run(recorded))
    for outcome, observed in bare.items():
        assert without_the_request_for_usage(instrumented[outcome]) == without_the_request_for_usage(observed), outcome
    assert delivery_stats.snapshot()["errors"] == before
    assert app.attributes["gen_ai.usage.input_tokens"] > 0
    assert app.attributes["gen_ai.usage.output_tokens"] > 0
