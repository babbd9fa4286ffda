"""Transparent proxies for objects of the client packages: attributes, `isinstance`, repr and pickling are delegated.

Applications and other tools recognise such objects by `isinstance`, by the name of their type (some error trackers read
`str(type(stream._iterator))` to recognise an asynchronous stream), by their attributes or by their repr.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, SupportsIndex, TypeVar

_ProxyT = TypeVar("_ProxyT", bound="Proxy")
_proxy_classes: Final[dict[tuple[type, type], type]] = {}
_INSTANCE_NAMES: Final = ("__name__", "__qualname__")
"""Attributes that a generator has from its function. A class cannot provide them for its instances."""


class Proxy:
    """Base class of proxies for `original`. Subclasses override methods, and keep their own state in slots.

    Instances are made of a class that `proxy_class_for` returns. They share the `__dict__` of the original.
    """

    # Slots and no `__getattr__`: with it each attribute look-up takes some hundred more instructions, and there are
    # several look-ups for each chunk.
    __slots__ = ("__dict__", "_original")

    def __init__(self, original: Any) -> None:
        self._original = original
        names = {name: getattr(original, name) for name in _INSTANCE_NAMES if hasattr(original, name)}
        self.__dict__ = getattr(original, "__dict__", names)

    def __repr__(self) -> str:
        return repr(self._original)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return self._original.__reduce_ex__(protocol)  # type: ignore[no-any-return]  # as the original returns it

    @property  # type: ignore[misc]  # `isinstance` reads it in addition to the type
    def __class__(self) -> type:
        return type(getattr(self, "_original", self))


def proxy_class_for(proxy: type[_ProxyT], original: type, shared_bases: Collection[str] = ()) -> type[_ProxyT]:
    """The subclass of `proxy` for objects of the class `original`, with its name and delegating properties.

    It also inherits from those bases of `original` that are named in `shared_bases`.
    """
    found = _proxy_classes.get((proxy, original))
    if found is None:
        shared = tuple(base for base in original.__mro__ if base.__name__ in shared_bases)
        names = {"__module__": original.__module__, "__qualname__": original.__qualname__}
        delegated = {name: _delegate(name) for name in _missing_names(original, (*proxy.__mro__, *shared))}
        found = type(original.__name__, (proxy, *shared), {**delegated, **names})
        _proxy_classes[proxy, original] = found
    return found


def _missing_names(original: type, others: Collection[type]) -> Iterator[str]:
    """Public and private members of a class that none of the other classes defines."""
    for name in dir(original):
        if not name.startswith("__") and not any(name in other.__dict__ for other in others):
            yield name
    if hasattr(original, "__getattr__"):
        yield "__getattr__"


def _delegate(name: str) -> property:
    """A property that delegates to the original."""

    def get(self: Proxy) -> Any:
        return getattr(self._original, name)

    def put(self: Proxy, value: Any) -> None:
        setattr(self._original, name, value)

    def delete(self: Proxy) -> None:
        delattr(self._original, name)

    return property(get, put, delete)
