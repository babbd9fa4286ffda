"""A proxy of an object of a client package is indistinguishable from it."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infraprism.instrumentation.proxies import Proxy, proxy_class_for


class CountingProxy(Proxy):
    __slots__ = ("_reads",)

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self._reads = 0

    def read(self) -> str:
        self._reads += 1
        return f"observed {self._original.read()}"


class Base:
    """A base class that the package checks for."""


class Body(Base):
    closed = False

    def __init__(self) -> None:
        self.chunks = 3

    def read(self) -> str:
        return f"{self.chunks} chunks"

    @property
    def remaining(self) -> int:
        return self.chunks

    @remaining.setter
    def remaining(self, value: int) -> None:
        self.chunks = value


def proxy_of(original: Any) -> Any:
    return proxy_class_for(CountingProxy, type(original), ("Base",))(original)


def test_only_overridden_members_are_not_delegated() -> None:
    original = Body()
    proxy = proxy_of(original)
    assert proxy.read() == "observed 3 chunks"
    assert (proxy.chunks, proxy.remaining, proxy.closed) == (3, 3, False)
    with pytest.raises(AttributeError, match="'Body' object has no attribute 'nothing'"):
        proxy.nothing  # noqa: B018 - the access raises


def test_attributes_are_set_and_deleted_on_the_original() -> None:
    original = Body()
    proxy = proxy_of(original)
    proxy.remaining, proxy.closed, proxy.label = 5, True, "kept"
    assert (original.chunks, original.closed, original.label) == (5, True, "kept")  # type: ignore[attr-defined]
    original.chunks = 7
    assert proxy.remaining == 7
    del proxy.label
    assert not hasattr(original, "label")


def test_a_proxy_has_the_class_bases_and_name_of_the_original() -> None:
    proxy = proxy_of(Body())
    assert isinstance(proxy, Body)
    assert isinstance(proxy, Base)
    assert issubclass(type(proxy), Base)
    assert str(type(proxy)) == str(Body)
    assert type(copy.copy(proxy)) is Body


def test_getattr_of_the_original_is_delegated() -> None:
    class Dynamic:
        def __getattr__(self, name: str) -> str:
            return f"any {name}"

    assert proxy_of(Dynamic()).thing == "any thing"


async def _chunks() -> AsyncIterator[int]:
    yield 1


def test_the_proxy_of_a_generator_has_the_names_of_its_function() -> None:
    original = _chunks()
    proxy = proxy_of(original)
    assert (proxy.__name__, proxy.__qualname__) == ("_chunks", "_chunks")
    assert proxy.ag_running is False
    assert repr(proxy) == repr(original)
    proxy.aclose().close()
