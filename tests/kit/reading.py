"""How an application reads what a client gives it, sync or async alike, and what it sees of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any


async def value(given: Any) -> Any:
    """What a sync or async call returns."""
    return await given if inspect.isawaitable(given) else given


async def items(stream: Any) -> AsyncIterator[Any]:
    """What a sync or async iterable yields."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


async def all_of(stream: Any) -> list[Any]:
    """All that a sync or async iterable yields."""
    return [item async for item in items(stream)]


reading: ContextVar[Callable[[Any], Awaitable[list[Any]]]] = ContextVar("reading", default=all_of)
"""How the application reads whatever streams to it: to its end, unless a test says otherwise."""


async def listed(stream: Any) -> list[Any]:
    """What the application read of a sync or async iterable."""
    return await reading.get()(stream)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A sync or async context manager, entered."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


_VOLATILE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![a-z])(?:[a-z]+_)?(?:chatcmpl-|cmpl-)?[0-9a-f]{6,}"
    r"|\b1[0-9]{9}(?:\.[0-9]+)?\b|\b[0-9]+\.[0-9]+\b|\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b"
    r'|"obfuscation":"[^"]*"'
)
_LARGE = 1e9  # times and the like


def shown(seen: object) -> object:
    """What the application sees, as plain data without what differs between two answers to one request."""
    if hasattr(seen, "model_dump"):
        return type(seen).__name__, shown(seen.model_dump())
    if isinstance(seen, dict):
        return {key: shown(inner) for key, inner in seen.items() if key not in ("obfuscation", "signature")}
    if isinstance(seen, list | tuple):
        return [shown(inner) for inner in seen]
    if isinstance(seen, BaseException):
        return type(seen), shown(str(seen)), type(seen.__cause__)
    if isinstance(seen, str | bytes):
        return _VOLATILE.sub("*", seen if isinstance(seen, str) else seen.decode())
    plain = isinstance(seen, bool | int | float | type | None)
    return (seen if isinstance(seen, type) or not seen or seen < _LARGE else "*") if plain else type(seen)


class Steps:
    """A stream that is drawn from one by one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close = stream.close

    async def __aiter__(self) -> AsyncIterator[Any]:
        with suppress(StopIteration, StopAsyncIteration):
            while True:
                step = self._stream.__anext__ if hasattr(self._stream, "__anext__") else self._stream.__next__
                yield await value(step())
