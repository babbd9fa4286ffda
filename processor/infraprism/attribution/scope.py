"""Attributes calls to a customer, team, project or employee: the value of a ContextVar, read when a span starts.

The value is propagated like any ContextVar, through `await` and into asyncio tasks. It never leaves the process: it
is not baggage. Threads of an executor start with an empty context; copy it with the standard library:

    context = contextvars.copy_context()
    executor.submit(context.run, work)

A process can have a default in its resource attributes (`OTEL_RESOURCE_ATTRIBUTES`): `infraprism.entity_type`,
`infraprism.entity_id`, `infraprism.session_id` and `infraprism.tags.<key>`. `attribution` takes precedence over the
resource, and attributes of these names on a span take precedence over both. Entity and session replace each other,
tags are merged by key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from infraprism.attribution.decorators import scoped
from infraprism.schema import fields
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.event import fits

_log: Final = logging.getLogger("infraprism.attribution")
_F = TypeVar("_F", bound=Callable[..., Any])
Identifier = str | int | UUID
"""Types of identifiers and tag values. The event has them as strings."""

delivery_stats: Final = DeliveryStats()
"""Counts invalid values, which are ignored, as errors named `attribution.<field>`."""
warned: Final[set[tuple[str, str]]] = set()
"""Pairs of field and rule that were logged."""

_NOT_PRINTABLE: Final = "must be 1 to 256 printable characters on one line"
_NOT_TAG_VALUE: Final = "must be up to 256 printable characters on one line"
_NOT_TAG_KEY: Final = f"keys must match {fields.TAG_KEY.pattern}"
_TOO_MANY: Final = f"at most {fields.MAX_TAGS} tags"
_ONE_ENTITY: Final = "give one of customer, team, project and employee; none was used"
_NOT_A_KIND: Final = "must be customer, team, project or employee"
_INCOMPLETE: Final = "entity_type and entity_id must be set together"
_NOT_A_MAPPING: Final = "must be a mapping of strings"


class Attribution(NamedTuple):
    """Validated values. `tags` are pairs sorted by key; entity type and id are both set or both None."""

    entity_type: str | None = None
    entity_id: str | None = None
    session_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def over(self, outer: Attribution) -> Attribution:
        """Merge with the values of an enclosing attribution: these take precedence."""
        if outer == NOTHING:
            return self
        entity = self if self.entity_id is not None else outer
        return Attribution(
            entity.entity_type,
            entity.entity_id,
            self.session_id if self.session_id is not None else outer.session_id,
            _merged(self.tags, outer.tags),
        )


NOTHING: Final = Attribution()


class Frame(NamedTuple):
    """One active `with attribution(...)` block: its merged values, its scope, and the frame of the enclosing block."""

    attribution: Attribution
    owner: Scope
    outer: Frame | None


current: Final[ContextVar[Frame | None]] = ContextVar("infraprism.attribution", default=None)
"""The frame of the innermost active block in this context."""


class Scope:
    """Context manager and decorator that sets an attribution. Reusable, reentrant and thread-safe: it has no state.

    `__exit__` removes the frame of this scope from the current context at any depth. So generators may be interleaved
    or closed in another context: they do not fail, and no frame remains.
    """

    __slots__ = ("_attribution",)

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution

    def __enter__(self) -> Attribution:
        outer = current.get()
        merged = self._attribution if outer is None else self._attribution.over(outer.attribution)
        current.set(Frame(merged, self, outer))
        return merged

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.set(_without(current.get(), self))

    def __call__(self, function: _F) -> _F:
        """Decorate a function, coroutine function, generator function or asynchronous generator function."""
        return scoped(self, function)


def _without(frame: Frame | None, owner: Scope) -> Frame | None:
    inner = []
    while frame is not None and frame.owner is not owner:
        inner.append(frame)
        frame = frame.outer
    rest = None if frame is None else frame.outer
    for each in reversed(inner):
        rest = each._replace(outer=rest)
    return rest


def attribution(
    *,
    customer: Identifier | None = None,
    team: Identifier | None = None,
    project: Identifier | None = None,
    employee: Identifier | None = None,
    session_id: Identifier | None = None,
    tags: Mapping[str, Identifier] | None = None,
) -> Scope:
    """Attribute the LLM calls in a `with` block, or in a decorated function, to customers, teams and sessions.

    At most one of customer, team, project and employee. Identifiers are up to 256 printable characters on one line.
    `tags` are up to 32 pairs; keys match `[a-z][a-z0-9_.-]{0,63}`, values are like identifiers or empty. Nested
    attributions are merged; the inner one takes precedence. Never raises: an invalid value is ignored, counted in
    `delivery_stats`, and logged once without the value.
    """
    entities = {
        kind: value
        for kind, value in zip(fields.ENTITY_TYPES, (customer, team, project, employee), strict=True)
        if value is not None
    }
    kind, entity = next(iter(entities.items()), (None, None))
    if len(entities) > 1:
        kind = entity = None
        _ignore("entity", _ONE_ENTITY)
    return Scope(checked(kind, entity, session_id, tags))


def checked(entity_type: object, entity_id: object, session_id: object, tags: object) -> Attribution:
    """An attribution of the valid values; None means not set. Invalid values are counted and logged."""
    kind, entity = _entity(entity_type, entity_id)
    return Attribution(kind, entity, _identifier("session_id", session_id), _tags(tags))


def _entity(entity_type: object, entity_id: object) -> tuple[str | None, str | None]:
    if entity_type is None and entity_id is None:
        return None, None
    if entity_type is None or entity_id is None:
        _ignore("entity", _INCOMPLETE)
        return None, None
    if not isinstance(entity_type, str) or entity_type not in fields.ENTITY_TYPES:
        _ignore("entity_type", _NOT_A_KIND)
        return None, None
    entity = _identifier(entity_type, entity_id)
    return (None, None) if entity is None else (str.__str__(entity_type), entity)


def _identifier(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if fits(fields.ENTITY_ID, text):
        return text
    _ignore(name, _NOT_PRINTABLE)
    return None


def _text(value: object) -> str | None:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) is int or isinstance(value, UUID):
        return str(value)
    return None


def _tags(tags: object) -> tuple[tuple[str, str], ...]:
    if not tags:
        return ()
    if not isinstance(tags, Mapping):
        _ignore("tags", _NOT_A_MAPPING)
        return ()
    valid = {}
    for key, value in tags.items():
        name, text = _text(key), _text(value)
        if name is None or not fields.TAG_KEY.fullmatch(name):
            _ignore("tags", _NOT_TAG_KEY)
        elif not fits(fields.TAGS, text):
            _ignore("tags", _NOT_TAG_VALUE)
        elif text is not None:
            valid[name] = text
    return _bounded(valid)


def _merged(inner: tuple[tuple[str, str], ...], outer: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not inner or not outer:
        return inner or outer
    return _bounded({**dict(inner), **{key: value for key, value in outer if key not in dict(inner)}})


def _bounded(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if len(tags) > fields.MAX_TAGS:
        _ignore("tags", _TOO_MANY)
    return tuple(sorted(list(tags.items())[: fields.MAX_TAGS]))


def _ignore(name: str, rule: str) -> None:
    delivery_stats.error(f"attribution.{name}")
    if (name, rule) not in warned:
        warned.add((name, rule))
        _log.warning("attribution: %s was ignored: %s. Further invalid values are counted, not logged.", name, rule)
