"""Read results of sync and async clients in the same way, and compare what an application observes."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any


async def value(result: Any) -> Any:
    """The result of a sync or async call."""
    return await result if inspect.isawaitable(result) else result


async def until(condition: Callable[[], object], step_s: float = 0.001) -> None:
    """Wait until the condition is true."""
    while not condition():  # noqa: ASYNC110 - other threads make it true
        await asyncio.sleep(step_s)


async def items(stream: Any) -> AsyncIterator[Any]:
    """The items of a sync or async iterable."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


async def all_of(stream: Any) -> list[Any]:
    """All items of a sync or async iterable."""
    return [item async for item in items(stream)]


reading: ContextVar[Callable[[Any], Awaitable[list[Any]]]] = ContextVar("reading", default=all_of)
"""How the application reads a stream: to its end by default."""


async def listed(stream: Any) -> list[Any]:
    """The items of a sync or async iterable that the application read."""
    return await reading.get()(stream)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A sync or async context manager, entered."""
    if hasattr(manager, "__aenter__"):
        async with manager as opened:
            yield opened
    else:
        with manager as opened:
            yield opened


_VOLATILE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![a-z])(?:[a-z]+_)?(?:chatcmpl-|cmpl-)?[0-9a-f]{6,}"
    r"|\b1[0-9]{9}(?:\.[0-9]+)?\b|\b[0-9]+\.[0-9]+\b|\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b"
    r'|"obfuscation":"[^"]*"'
)
_LARGE = 1e9  # such as timestamps


def shown(value: object) -> object:
    """What the application observes, as plain data, without values that differ between two equal requests."""
    if hasattr(value, "model_dump"):
        return type(value).__name__, shown(value.model_dump())
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items() if key not in ("obfuscation", "signature")}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    if isinstance(value, BaseException):
        return type(value), shown(str(value)), type(value.__cause__)
    if isinstance(value, str | bytes):
        return _VOLATILE.sub("*", value if isinstance(value, str) else value.decode())
    plain = isinstance(value, bool | int | float | type | None)
    return (value if isinstance(value, type) or not value or value < _LARGE else "*") if plain else type(value)


class ReadByNext:
    """A stream that is read by `next`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close = stream.close

    async def __aiter__(self) -> AsyncIterator[Any]:
        with suppress(StopIteration, StopAsyncIteration):
            while True:
                read_next = self._stream.__anext__ if hasattr(self._stream, "__anext__") else self._stream.__next__
                yield await value(read_next())
