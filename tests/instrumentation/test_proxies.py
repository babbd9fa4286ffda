"""What stands in for an object of the client package cannot be told from it."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infraprism.instrumentation.proxies import Proxy, like


class Watching(Proxy):
    __slots__ = ("_seen",)

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self._seen = 0

    def read(self) -> str:
        self._seen += 1
        return f"watched {self._original.read()}"


class Base:
    """A base that the package asks after."""


class Body(Base):
    closed = False

    def __init__(self) -> None:
        self.pieces = 3

    def read(self) -> str:
        return f"{self.pieces} pieces"

    @property
    def left(self) -> int:
        return self.pieces

    @left.setter
    def left(self, value: int) -> None:
        self.pieces = value


def stand_in(original: Any) -> Any:
    return like(Watching, type(original), ("Base",))(original)


def test_members_of_the_original_are_the_originals_and_only_what_is_watched_is_ours() -> None:
    original = Body()
    standing = stand_in(original)
    assert standing.read() == "watched 3 pieces"
    assert (standing.pieces, standing.left, standing.closed) == (3, 3, False)
    with pytest.raises(AttributeError, match="'Body' object has no attribute 'nothing'"):
        standing.nothing  # noqa: B018 - it is asked for


def test_what_is_set_on_the_one_is_on_both() -> None:
    original = Body()
    standing = stand_in(original)
    standing.left, standing.closed, standing.note = 5, True, "kept"
    assert (original.pieces, original.closed, original.note) == (5, True, "kept")  # type: ignore[attr-defined]
    original.pieces = 7
    assert standing.left == 7
    del standing.note
    assert not hasattr(original, "note")


def test_it_is_of_the_originals_class_by_all_that_tells_one() -> None:
    standing = stand_in(Body())
    assert isinstance(standing, Body)
    assert isinstance(standing, Base)
    assert issubclass(type(standing), Base)
    assert str(type(standing)) == str(Body)
    assert type(copy.copy(standing)) is Body


def test_an_object_that_answers_for_any_name_still_does() -> None:
    class Dynamic:
        def __getattr__(self, name: str) -> str:
            return f"any {name}"

    assert stand_in(Dynamic()).thing == "any thing"


async def _chunks() -> AsyncIterator[int]:
    yield 1


def test_a_generator_has_the_names_of_its_function() -> None:
    original = _chunks()
    standing = stand_in(original)
    assert (standing.__name__, standing.__qualname__) == ("_chunks", "_chunks")
    assert standing.ag_running is False
    assert repr(standing) == repr(original)
    standing.aclose().close()
