"""Objects that stand in the place of a client package's own: whatever is asked of them, the original answers.

Applications, and other tools beside us, tell such objects by `isinstance`, by the name of their type (some error
trackers read `str(type(stream._iterator))` to tell an asynchronous stream), by what they can do, or print them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar

_Kind = TypeVar("_Kind", bound="StandIn")
_made: Final[dict[tuple[type, type], type]] = {}


class StandIn:
    """Stands in for `original`; a subclass adds what it does beside."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        # Through the dictionary: copying asks an object without any fields yet.
        if "_original" in self.__dict__:
            return getattr(self.__dict__["_original"], name)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return repr(self._original)

    @property  # type: ignore[misc]  # what `isinstance` asks after the type itself
    def __class__(self) -> type:
        fields = self.__dict__
        return type(fields["_original"]) if "_original" in fields else type(self)


def like(stand_in: type[_Kind], original: type, bases: Collection[str] = ()) -> type[_Kind]:
    """The class of this stand-in by the name of the original's, which has those of its bases as well that are named."""
    found = _made.get((stand_in, original))
    if found is None:
        names = {"__module__": original.__module__, "__qualname__": original.__qualname__}
        shared = (base for base in original.__mro__ if base.__name__ in bases)
        found = _made[stand_in, original] = type(original.__name__, (stand_in, *shared), names)
    return found
