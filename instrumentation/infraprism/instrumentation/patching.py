"""Replace functions of classes and modules, and restore exactly the originals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Function = Callable[..., Any]
WRAPPED: Final = "__wrapped__"
"""The attribute in which a wrapper of `wrapt` keeps the wrapped function."""


class Switch:
    """Whether a replacement is active. When `on` is False, it only calls the original."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = True


class Patch:
    """One replacement: `make` gets the original and a switch that it must obey, and returns the replacement.

    If other code has wrapped the replacement since, it cannot be removed. Then the switch alone disables it.
    """

    def __init__(self, owner: Any, name: str, make: Callable[[Function, Switch], Function]) -> None:
        """Raises KeyError if the owner itself does not define the name."""
        self._owner = owner
        self._name = name
        self._original = _own_members(owner, name)[name]
        self._switch = Switch()
        self._replacement = make(self._original, self._switch)

    def apply(self) -> None:
        """Install the replacement."""
        setattr(self._owner, self._name, self._replacement)

    def restore(self) -> None:
        """Restore the original."""
        self._switch.on = False
        if _own_members(self._owner, self._name).get(self._name) is self._replacement:
            setattr(self._owner, self._name, self._original)


def _own_members(owner: Any, name: str) -> Mapping[str, Function]:
    """What the owner itself defines. The `vars` of a wrapper are those of the wrapped function."""
    return {name: getattr(owner, name)} if name == WRAPPED else vars(owner)


class Patches:
    """Several replacements that are applied all or none."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches

    def apply(self) -> None:
        """Install all replacements, in order. If one fails, all are restored and its error is raised."""
        try:
            for patch in self._patches:
                patch.apply()
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Restore all originals, in reverse order."""
        for patch in reversed(self._patches):
            patch.restore()
