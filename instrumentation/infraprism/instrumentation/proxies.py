"""Objects that stand in the place of a client package's own: whatever is asked of them, the original answers.

Applications, and other tools beside us, tell such objects by `isinstance`, by the name of their type (some error
trackers read `str(type(stream._iterator))` to tell an asynchronous stream), by what they can do, or print them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, SupportsIndex, TypeVar

_Kind = TypeVar("_Kind", bound="Proxy")
_made: Final[dict[tuple[type, type], type]] = {}
_NAMES: Final = ("__name__", "__qualname__")
"""What generators have of their function, and no class can answer for its objects."""


class Proxy:
    """Stands in for `original`; a subclass adds what it does beside, and keeps what it needs for that in slots.

    Made by a class of `like`. Its fields are the original's own: what is set on the one is on both.
    """

    # Slots, and no `__getattr__`, since with that each look-up of any field takes some hundred instructions more, and
    # there are several for each piece of an answer.
    __slots__ = ("__dict__", "_original")

    def __init__(self, original: Any) -> None:
        self._original = original
        named = {name: getattr(original, name) for name in _NAMES if hasattr(original, name)}
        self.__dict__ = getattr(original, "__dict__", named)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return self._original.__reduce_ex__(protocol)  # type: ignore[no-any-return]  # whatever it is a copy of

    @property  # type: ignore[misc]  # what `isinstance` asks after the type itself
    def __class__(self) -> type:
        return type(getattr(self, "_original", self))


def like(stand_in: type[_Kind], original: type, bases: Collection[str] = ()) -> type[_Kind]:
    """The class of this stand-in by the name of the original's, which has those of its bases as well that are named."""
    found = _made.get((stand_in, original))
    if found is None:
        shared = tuple(base for base in original.__mro__ if base.__name__ in bases)
        names = {"__module__": original.__module__, "__qualname__": original.__qualname__}
        answered = {name: _answered(name) for name in _only_of(original, (*stand_in.__mro__, *shared))}
        found = _made[stand_in, original] = type(original.__name__, (stand_in, *shared), {**answered, **names})
    return found


def _only_of(original: type, others: Collection[type]) -> Iterator[str]:
    """What objects of a class have and those of the others have not."""
    for name in dir(original):
        if not name.startswith("__") and not any(name in other.__dict__ for other in others):
            yield name
    if hasattr(original, "__getattr__"):
        yield "__getattr__"


def _answered(name: str) -> property:
    """A member that is the original's."""

    def get(self: Proxy) -> Any:
        return getattr(self._original, name)

    def put(self: Proxy, value: Any) -> None:
        setattr(self._original, name, value)

    def delete(self: Proxy) -> None:
        delattr(self._original, name)

    return property(get, put, delete)
