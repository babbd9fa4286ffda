"""A call ends exactly once, and immediately, however the application abandons it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from tests.kit.client_calls import MESSAGES, USAGE, client, httpx, used
from tests.kit.reading import entered, items, until, value
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.llm_call import LLMCall
from infraprism.instrumentation.proxies import Proxy
from infraprism.local_provider import LocalProvider
from infraprism.processor import to_event

SIDES = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
MODELS = {"openai": "gpt-4o-mini-chunks40", "anthropic": "claude-haiku-4-5-chunks40"}
PACKAGES = pytest.mark.parametrize("package", MODELS)


async def stream_of(opened: Any, package: str, marker: str = "") -> Any:
    model = MODELS[package] + marker
    if package == "openai":
        return await value(opened.chat.completions.create(model=model, messages=MESSAGES, stream=True, **USAGE))
    return await value(opened.messages.create(model=model, messages=MESSAGES, max_tokens=9, stream=True))


def helper_of(opened: Any, package: str) -> Any:
    if package == "openai":
        chats = opened.chat.completions if hasattr(opened.chat.completions, "stream") else opened.beta.chat.completions
        return chats.stream(model=MODELS[package], messages=MESSAGES)
    return opened.messages.stream(model=MODELS[package], messages=MESSAGES, max_tokens=9)


async def breaks_and_closes(opened: Any, package: str, recorded: RecordedSpans) -> None:
    stream = await stream_of(opened, package)
    async for _ in items(stream):
        break
    await value(stream.close())
    assert len(recorded.spans) == 1
    await value(stream.close())


async def closes_before_the_first_chunk(opened: Any, package: str, recorded: RecordedSpans) -> None:
    stream = await stream_of(opened, package)
    await value(stream.close())
    assert len(recorded.spans) == 1


async def breaks_in_the_with_block(opened: Any, package: str, recorded: RecordedSpans) -> None:
    async with entered(await stream_of(opened, package)) as stream:
        async for _ in items(stream):
            break
        assert not recorded.spans
    assert len(recorded.spans) == 1


async def fails_in_the_with_block(opened: Any, package: str, recorded: RecordedSpans) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the with block is tested
        async with entered(await stream_of(opened, package)) as stream:
            async for _ in items(stream):
                _ = 1 / 0
    assert len(recorded.spans) == 1


async def breaks_in_the_stream_helper(opened: Any, package: str, recorded: RecordedSpans) -> None:
    async with entered(helper_of(opened, package)) as stream:
        async for _ in items(stream):
            break
        assert not recorded.spans
    assert len(recorded.spans) == 1


async def drops_the_stream(opened: Any, package: str, recorded: RecordedSpans) -> None:
    stream = await stream_of(opened, package)
    async for _ in items(stream):
        break
    del stream
    for _ in range(10):  # the event loop closes one generator per iteration
        await asyncio.sleep(0)
    gc.collect()
    assert len(recorded.spans) == 1


async def drops_the_stream_without_reading(opened: Any, package: str, recorded: RecordedSpans) -> None:
    stream = await stream_of(opened, package)
    del stream
    gc.collect()
    assert len(recorded.spans) == 1


async def breaks_in_a_streaming_response(opened: Any, package: str, recorded: RecordedSpans) -> None:
    parameters: dict[str, Any] = {"model": MODELS[package], "messages": MESSAGES, "stream": True}
    if package == "openai":
        manager = opened.chat.completions.with_streaming_response.create(**parameters)
    else:
        manager = opened.messages.with_streaming_response.create(max_tokens=9, **parameters)
    async with entered(manager) as response:
        async for _ in items(response.iter_lines()):
            break
    assert len(recorded.spans) == 1


ENDINGS: list[Callable[[Any, str, RecordedSpans], Awaitable[None]]] = [
    breaks_and_closes,
    closes_before_the_first_chunk,
    breaks_in_the_with_block,
    fails_in_the_with_block,
    breaks_in_the_stream_helper,
    drops_the_stream,
    drops_the_stream_without_reading,
    breaks_in_a_streaming_response,
]


@SIDES
@PACKAGES
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # from the dropped streams
def test_an_abandoned_stream_ends_its_call_once_without_output_tokens(
    ending: Callable[[Any, str, RecordedSpans], Awaitable[None]],
    package: str,
    asynchronous: bool,
    provider: LocalProvider,
    recorded: RecordedSpans,
) -> None:
    async def run() -> None:
        async with used(client(package, provider, asynchronous=asynchronous)) as opened:
            await ending(opened, package, recorded)

    asyncio.run(run())
    gc.collect()
    span = recorded.only()
    assert span.status.status_code is StatusCode.UNSET
    event = to_event(span)
    assert event is not None
    assert event.success
    assert (event.output_tokens, event.total_tokens, event.cost_usd) == (None, None, None)


@SIDES
@PACKAGES
def test_an_abandoned_stream_can_be_read_further_as_without_instrumentation(
    package: str, asynchronous: bool, provider: LocalProvider
) -> None:
    async def run() -> list[object]:
        async with used(client(package, provider, asynchronous=asynchronous)) as opened:
            stream = await stream_of(opened, package, "-slow")  # each chunk is sent separately
            received: list[object] = []
            async for chunk in items(stream):
                received.append(type(chunk))
                if len(received) == 2:
                    break
            await value(stream.close())
            try:
                received += [type(chunk) async for chunk in items(stream)]
            except Exception as error:  # noqa: BLE001 - any error must be the same
                received.append(type(error))
            return [*received, stream.response.is_closed]

    bare = asyncio.run(run())
    instrument(RecordedSpans().provider)
    assert asyncio.run(run()) == bare


@PACKAGES
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_task_ends_its_call_as_cancelled(
    package: str, streamed: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    async def run() -> None:
        async with used(client(package, provider, asynchronous=True)) as opened:

            async def call() -> None:
                stream = await stream_of(opened, package, "-slow" if streamed else "-hang")
                async for _ in items(stream):
                    started.set()

            started = asyncio.Event()
            task = asyncio.create_task(call())
            await asyncio.wait_for(started.wait() if streamed else until(lambda: provider.calls), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(recorded.spans) == 1

    asyncio.run(run())
    event = to_event(recorded.only())
    assert event is not None
    assert (event.success, event.error_type) == (False, "cancelled")


@PACKAGES
def test_a_keyboard_interrupt_is_raised_and_ends_the_call(
    package: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    def interrupt(request: Any) -> Any:
        raise KeyboardInterrupt

    opened = client(
        package, provider, asynchronous=False, http_client=httpx.Client(transport=httpx.MockTransport(interrupt))
    )
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(stream_of(opened, package))
    event = to_event(recorded.only())
    assert event is not None
    assert event.error_type == "cancelled"


@PACKAGES
def test_a_stream_closed_by_another_thread_ends_once(
    package: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    opened = client(package, provider, asynchronous=False)
    stream = asyncio.run(stream_of(opened, package))
    next(iter(stream))
    threads = [threading.Thread(target=stream.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    opened.close()
    assert len(recorded.spans) == 1


@PACKAGES
def test_an_error_thrown_into_a_stream_closes_it_immediately(package: str, provider: LocalProvider) -> None:
    def run() -> bool:
        opened = client(package, provider, asynchronous=False)
        stream = asyncio.run(stream_of(opened, package))
        next(stream)
        with pytest.raises(ZeroDivisionError) as caught:
            stream._iterator.throw(ZeroDivisionError())
        is_closed: bool = stream.response.is_closed  # while the error still references the frames of its traceback
        assert caught.tb
        opened.close()
        return is_closed

    bare = run()
    instrument(RecordedSpans().provider)
    assert run() == bare


@PACKAGES
def test_a_stream_that_is_dropped_after_its_event_loop_stopped_ends_its_call(
    package: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    opened = client(package, provider, asynchronous=True)

    async def drops_stream() -> None:
        await anext(await stream_of(opened, package))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(drops_stream())
    gc.collect()
    assert len(recorded.spans) == 1
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(opened.close())
    loop.close()


@SIDES
@PACKAGES
def test_the_span_of_a_stream_ends_with_the_last_chunk(
    package: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    async def run() -> int:
        async with used(client(package, provider, asynchronous=asynchronous)) as opened:
            stream = await stream_of(opened, package)
            async for _ in items(stream):
                break
            abandoned_ns = time.time_ns()
            await until(lambda: time.time_ns() > abandoned_ns)
            await value(stream.close())
            return abandoned_ns

    abandoned_ns = asyncio.run(run())
    span = recorded.only()
    assert (span.start_time or 0) < (span.end_time or 0) <= abandoned_ns


@PACKAGES
def test_a_call_in_progress_is_recorded_after_uninstrument(
    package: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    opened = client(package, provider, asynchronous=False)
    stream = asyncio.run(stream_of(opened, package))
    uninstrument()
    list(stream)
    opened.close()
    reported = provider.calls[0].reported
    assert reported is not None
    assert (recorded.only().attributes or {})["gen_ai.usage.output_tokens"] == reported.output_tokens


@SIDES
@PACKAGES
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # from the dropped streams
def test_dropped_streams_leave_no_calls_and_proxies_in_memory(
    package: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    def live_objects() -> int:
        gc.collect()
        return sum(issubclass(type(each), LLMCall | Proxy) for each in gc.get_objects())

    async def run() -> None:
        async with used(client(package, provider, asynchronous=asynchronous)) as opened:
            for read_one in (True, False) * 5:
                stream = await stream_of(opened, package)
                async for _ in items(stream):
                    if read_one:
                        break
                del stream
                gc.collect()  # before the loop ends: it logs streams that it closes at its end, which keeps them alive
                await asyncio.sleep(0)

    before = live_objects()
    asyncio.run(run())
    assert live_objects() == before
    assert len(recorded.spans) == 10
