"""Decorates functions, coroutine functions and generator functions with a reusable context manager."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])
_Scope = AbstractContextManager[Any]


def scoped(scope: _Scope, function: _F) -> _F:
    """The function, with `scope` entered while its code runs, and not while its generator is suspended."""
    for is_kind, wrap in (
        (inspect.iscoroutinefunction, _coroutine),
        (inspect.isasyncgenfunction, _asynchronous_generator),
        (inspect.isgeneratorfunction, _generator),
    ):
        if is_kind(function):
            return cast("_F", wraps(function)(wrap(scope, function)))
    return cast("_F", wraps(function)(_function(scope, function)))


def _function(scope: _Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with scope:
            return function(*args, **kwargs)

    return run


def _coroutine(scope: _Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        with scope:
            return await function(*args, **kwargs)

    return run


def _generator(scope: _Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        inner = function(*args, **kwargs)
        step, value = inner.send, None
        while True:
            try:
                with scope:
                    yielded = step(value)
            except StopIteration as end:
                return end.value
            try:
                value, step = (yield yielded), inner.send
            except GeneratorExit:
                with scope:
                    inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown into the inner generator
                value, step = error, inner.throw

    return run


def _asynchronous_generator(scope: _Scope, function: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        inner = function(*args, **kwargs)
        step, value = inner.asend, None
        while True:
            try:
                with scope:
                    yielded = await step(value)
            except StopAsyncIteration:
                return
            try:
                value, step = (yield yielded), inner.asend
            except GeneratorExit:
                with scope:
                    await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown into the inner generator
                value, step = error, inner.athrow

    return run
