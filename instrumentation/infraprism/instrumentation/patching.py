"""Replace functions of classes and modules, and put exactly them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Function = Callable[..., Any]
WRAPPED: Final = "__wrapped__"
"""Where the wrappers of `wrapt` have what they call."""


class Switch:
    """Whether replacements do their work. Off, they hand every call straight to the original."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = True


class Patch:
    """One replacement: `make` gets the original and a switch that it must obey, and returns what stands in its place.

    Where somebody else has wrapped ours since, restoring cannot take ours out from below theirs: then the switch
    alone makes it as if it were not there.
    """

    def __init__(self, owner: Any, name: str, make: Callable[[Function, Switch], Function]) -> None:
        """Raises KeyError if the owner itself has no such name."""
        self._owner = owner
        self._name = name
        self._original = _own(owner, name)[name]
        self._switch = Switch()
        self._replacement = make(self._original, self._switch)

    def apply(self) -> None:
        """Put the replacement in the original's place."""
        setattr(self._owner, self._name, self._replacement)

    def restore(self) -> None:
        """Put the original back in its place."""
        self._switch.on = False
        if _own(self._owner, self._name).get(self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)


def _own(owner: Any, name: str) -> Mapping[str, Function]:
    """What the owner itself has; a wrapper's `vars` are those of what it wraps."""
    return {name: getattr(owner, name)} if name == WRAPPED else vars(owner)


class Patches:
    """Several replacements that stand or fall together."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches

    def apply(self) -> None:
        """Put all replacements in place, in order; where one cannot be, none of them stays, and the error is raised."""
        try:
            for patch in self._patches:
                patch.apply()
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Put all originals back, in reverse order."""
        for patch in reversed(self._patches):
            patch.restore()
