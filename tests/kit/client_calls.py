"""Every way to call a model with the openai and anthropic packages.

Each way is written once, for sync and async clients, and returns what the application receives. Which ways there are
depends on the installed version.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anthropic
import openai
from tests.kit.provider import ANTHROPIC_KEY, CANARY, OPENAI_KEY
from tests.kit.reading import ReadByNext, all_of, entered, listed, reading, value

from infraprism.local_provider import LocalProvider

try:
    import httpx2 as httpx
except ImportError:  # before version 3 of openai and 2 of anthropic
    import httpx  # type: ignore[no-redef]

MESSAGES: list[Any] = [{"role": "user", "content": f"Say {CANARY} politely, please."}]
USAGE = {"stream_options": {"include_usage": True}}


class Way(NamedTuple):
    """One way to call: `run(client, model)` returns the result; `operation` is the local provider's."""

    name: str
    package: str
    operation: str
    run: Callable[[Any, str], Awaitable[list[object]]]
    streamed: bool = False
    reports_usage: bool = True
    sees_chunks: bool = False


def client(package: str, provider: LocalProvider, *, asynchronous: bool, **options: Any) -> Any:
    """A client of the installed version for the local provider."""
    address = provider.openai_base_url if package == "openai" else provider.anthropic_base_url
    options = {"base_url": address, "max_retries": 0, "timeout": 5.0, **options}
    if "http_client" not in options:
        options["http_client"] = http_client(package, asynchronous=asynchronous)
    if package == "openai":
        kind: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return kind(api_key=OPENAI_KEY, **options)
    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return kind(api_key=ANTHROPIC_KEY, **options)


def http_client(package: str, *, asynchronous: bool) -> Any:
    """The default HTTP client of the package, without certificates: loading them takes longer than a call."""
    module: Any = openai if package == "openai" else anthropic
    return (module.DefaultAsyncHttpxClient if asynchronous else module.DefaultHttpxClient)(verify=False)


@asynccontextmanager
async def used(client: Any) -> AsyncIterator[Any]:
    """The client, which is closed at the end."""
    try:
        yield client
    finally:
        await value(client.close())


def streaming(make: Callable[[Any, str], Any]) -> Callable[[Any, str], Awaitable[list[object]]]:
    async def run(client: Any, model: str) -> list[object]:
        stream = await value(make(client, model))
        return [type(stream), *await listed(stream)]

    return run


def plain(make: Callable[[Any, str], Any]) -> Callable[[Any, str], Awaitable[list[object]]]:
    async def run(client: Any, model: str) -> list[object]:
        return [await value(make(client, model))]

    return run


def raw(make: Callable[[Any, str], Any]) -> Callable[[Any, str], Awaitable[list[object]]]:
    async def run(client: Any, model: str) -> list[object]:
        response = await value(make(client, model))
        parsed = await value(response.parse())
        return [type(response), sorted(response.headers), response.status_code, parsed, response.http_response.content]

    return run


def raw_stream(make: Callable[[Any, str], Any]) -> Callable[[Any, str], Awaitable[list[object]]]:
    async def run(client: Any, model: str) -> list[object]:
        response = await value(make(client, model))
        stream = await value(response.parse())
        return [type(response), response.status_code, type(stream), *await listed(stream)]

    return run


def streaming_response(
    make: Callable[[Any, str], Any], read: Callable[[Any], Any]
) -> Callable[[Any, str], Awaitable[list[object]]]:
    async def run(client: Any, model: str) -> list[object]:
        async with entered(make(client, model)) as response:
            result = read(response)
            received = (
                await listed(result)
                if hasattr(result, "__aiter__") or inspect.isgenerator(result)
                else await value(result)
            )
            if hasattr(received, "__next__") or hasattr(received, "__anext__"):
                received = [type(received), *await listed(received)]
            return [type(response), response.status_code, received]

    return run


async def _raw_body(response: Any) -> list[Any]:
    """The raw body, joined since its chunks vary, and other distinct items."""
    result = response.http_response
    received = await listed(result.aiter_raw() if type(response).__name__.startswith("Async") else result.iter_raw())
    others = [each for each in received if not isinstance(each, bytes)]
    distinct = [each for number, each in enumerate(others) if each not in others[:number]]
    return [b"".join(each for each in received if isinstance(each, bytes)), *distinct]


def _openai_chat(client: Any, model: str, **parameters: Any) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, **parameters)


def _openai_ways() -> list[Way]:
    def lines(response: Any) -> Any:
        return response.iter_lines()

    def parsed(response: Any) -> Any:
        return response.parse()

    def json(response: Any) -> Any:
        return response.json()

    async def helper(client: Any, model: str) -> list[object]:
        chats = client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions
        async with entered(chats.stream(model=model, messages=MESSAGES, **USAGE)) as stream:
            received = [event.type for event in await listed(stream)]
            final = [await value(stream.get_final_completion())] if reading.get() is all_of else []
            return [type(stream), *received, *final]

    async def parse(client: Any, model: str) -> list[object]:
        chats = client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions
        return [await value(chats.parse(model=model, messages=MESSAGES))]

    async def next_by_next(client: Any, model: str) -> list[object]:
        return await listed(ReadByNext(await value(_openai_chat(client, model, stream=True, **USAGE))))

    def body(model: str, **more: Any) -> dict[str, Any]:
        return {"body": {"model": model, "messages": MESSAGES, **more}}

    ways = [
        Way("chat", "openai", "chat", plain(_openai_chat)),
        Way("tools", "openai", "chat", plain(lambda c, m: _openai_chat(c, m, tools=[_TOOL]))),
        Way(
            "stream",
            "openai",
            "chat",
            streaming(lambda c, m: _openai_chat(c, m, stream=True, **USAGE)),
            streamed=True,
            sees_chunks=True,
        ),
        Way(
            "stream without usage",
            "openai",
            "chat",
            streaming(lambda c, m: _openai_chat(c, m, stream=True)),
            streamed=True,
            reports_usage=False,
            sees_chunks=True,
        ),
        Way("stream by next", "openai", "chat", next_by_next, streamed=True, sees_chunks=True),
        Way("stream helper", "openai", "chat", helper, streamed=True, sees_chunks=True),
        Way("parse", "openai", "chat", parse),
        Way(
            "raw",
            "openai",
            "chat",
            raw(lambda c, m: c.chat.completions.with_raw_response.create(model=m, messages=MESSAGES)),
        ),
        Way(
            "raw stream",
            "openai",
            "chat",
            raw_stream(
                lambda c, m: c.chat.completions.with_raw_response.create(
                    model=m, messages=MESSAGES, stream=True, **USAGE
                )
            ),
            streamed=True,
        ),
        *(
            Way(
                f"streaming response, {name}",
                "openai",
                "chat",
                streaming_response(
                    lambda c, m: c.chat.completions.with_streaming_response.create(model=m, messages=MESSAGES), read
                ),
            )
            for name, read in (("lines", lines), ("json", json), ("parsed", parsed), ("raw", _raw_body))
        ),
        *(
            Way(
                f"streaming response of a stream, {name}",
                "openai",
                "chat",
                streaming_response(
                    lambda c, m: c.chat.completions.with_streaming_response.create(
                        model=m, messages=MESSAGES, stream=True, **USAGE
                    ),
                    read,
                ),
                streamed=True,
            )
            for name, read in (("lines", lines), ("parsed", parsed), ("raw", _raw_body))
        ),
        Way(
            "post",
            "openai",
            "chat",
            plain(lambda c, m: c.post("/chat/completions", cast_to=object, **body(m))),
        ),
        Way(
            "post for the response",
            "openai",
            "chat",
            plain(lambda c, m: c.post("/chat/completions", cast_to=httpx.Response, **body(m))),
        ),
        Way(
            "post for the response of a stream",
            "openai",
            "chat",
            plain(lambda c, m: c.post("/chat/completions", cast_to=httpx.Response, **body(m, stream=True, **USAGE))),
            streamed=True,
        ),
        Way(
            "completions",
            "openai",
            "completion",
            plain(lambda c, m: c.completions.create(model=m, prompt=CANARY)),
        ),
        Way(
            "completions stream",
            "openai",
            "completion",
            streaming(lambda c, m: c.completions.create(model=m, prompt=CANARY, stream=True, **USAGE)),
            streamed=True,
            sees_chunks=True,
        ),
        Way("embeddings", "openai", "embeddings", plain(lambda c, m: c.embeddings.create(model=m, input=[CANARY] * 3))),
    ]
    return ways + (_responses_ways() if hasattr(openai.OpenAI, "responses") else [])


def _responses_ways() -> list[Way]:
    def make(client: Any, model: str, **parameters: Any) -> Any:
        return client.responses.create(model=model, input=CANARY, **parameters)

    async def helper(client: Any, model: str) -> list[object]:
        async with entered(client.responses.stream(model=model, input=CANARY)) as stream:
            received = [event.type for event in await listed(stream)]
            final = [await value(stream.get_final_response())] if reading.get() is all_of else []
            return [type(stream), *received, *final]

    return [
        Way("responses", "openai", "responses", plain(make)),
        Way(
            "responses stream",
            "openai",
            "responses",
            streaming(lambda c, m: make(c, m, stream=True)),
            streamed=True,
            sees_chunks=True,
        ),
        Way("responses helper", "openai", "responses", helper, streamed=True, sees_chunks=True),
        Way("responses parse", "openai", "responses", plain(lambda c, m: c.responses.parse(model=m, input=CANARY))),
        Way(
            "responses raw stream",
            "openai",
            "responses",
            raw_stream(lambda c, m: c.responses.with_raw_response.create(model=m, input=CANARY, stream=True)),
            streamed=True,
        ),
    ]


def _anthropic_ways() -> list[Way]:
    parameters: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 100}

    def make(client: Any, model: str, **more: Any) -> Any:
        return client.messages.create(model=model, **parameters, **more)

    async def helper(client: Any, model: str) -> list[object]:
        async with entered(client.messages.stream(model=model, **parameters)) as stream:
            received = [event.type for event in await listed(stream)]
            final = [await value(stream.get_final_message())] if reading.get() is all_of else []
            return [type(stream), *received, *final]

    async def text_helper(client: Any, model: str) -> list[object]:
        async with entered(client.messages.stream(model=model, **parameters)) as stream:
            return [type(stream), *await listed(stream.text_stream)]

    def lines(response: Any) -> Any:
        return response.iter_lines()

    def json(response: Any) -> Any:
        return response.json()

    return [
        Way("messages", "anthropic", "chat", plain(make)),
        Way("beta messages", "anthropic", "chat", plain(lambda c, m: c.beta.messages.create(model=m, **parameters))),
        Way(
            "messages stream",
            "anthropic",
            "chat",
            streaming(lambda c, m: make(c, m, stream=True)),
            streamed=True,
            sees_chunks=True,
        ),
        Way("messages helper", "anthropic", "chat", helper, streamed=True, sees_chunks=True),
        Way("messages text helper", "anthropic", "chat", text_helper, streamed=True, sees_chunks=True),
        Way(
            "messages raw",
            "anthropic",
            "chat",
            raw(lambda c, m: c.messages.with_raw_response.create(model=m, **parameters)),
        ),
        Way(
            "messages raw stream",
            "anthropic",
            "chat",
            raw_stream(lambda c, m: c.messages.with_raw_response.create(model=m, stream=True, **parameters)),
            streamed=True,
        ),
        *(
            Way(
                f"messages streaming response, {name}",
                "anthropic",
                "chat",
                streaming_response(lambda c, m: c.messages.with_streaming_response.create(model=m, **parameters), read),
            )
            for name, read in (("lines", lines), ("json", json), ("raw", _raw_body))
        ),
        Way(
            "messages streaming response of a stream",
            "anthropic",
            "chat",
            streaming_response(
                lambda c, m: c.messages.with_streaming_response.create(model=m, stream=True, **parameters), lines
            ),
            streamed=True,
        ),
        Way(
            "messages post",
            "anthropic",
            "chat",
            plain(lambda c, m: c.post("/v1/messages", cast_to=object, body={"model": m, **parameters})),
        ),
    ]


_TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": CANARY,
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}

WAYS: list[Way] = [*_openai_ways(), *_anthropic_ways()]
