"""Who a call is for: set by the application, held in a ContextVar, read when a span starts.

It follows the code, through `await` and into asyncio tasks, and never leaves the process: it is not baggage. Threads
of an executor start with an empty context; carry it over with the standard library:

    context = contextvars.copy_context()
    executor.submit(context.run, work)

A whole process or service can have a default in its resource attributes (`OTEL_RESOURCE_ATTRIBUTES`):
`infraprism.entity_type`, `infraprism.entity_id`, `infraprism.session_id` and `infraprism.tags.<key>`. What
`attribution` says wins over it, and attributes of these names on a span itself win over both. Entity and session are
replaced as a whole, tags key by key.
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
"""What identifiers and tag values may be given as; the event holds them as text."""

delivery_stats: Final = DeliveryStats()
"""Counts the values that were left out, as errors named `attribution.<field>`."""
_warned: Final[set[tuple[str, str]]] = set()

_NOT_PRINTABLE: Final = "must be 1 to 256 printable characters on one line"
_NOT_TAG_VALUE: Final = "must be up to 256 printable characters on one line"
_NOT_TAG_KEY: Final = f"keys must match {fields.TAG_KEY.pattern}"
_TOO_MANY: Final = f"at most {fields.MAX_TAGS} tags"
_ONE_ENTITY: Final = "give one of customer, team, project and employee; none was used"
_NOT_A_KIND: Final = "must be customer, team, project or employee"
_INCOMPLETE: Final = "entity_type and entity_id only count together"
_NOT_A_MAPPING: Final = "must be a mapping of strings"


class Attribution(NamedTuple):
    """A closed set of checked values. `tags` are pairs sorted by key; entity type and id are both there or neither."""

    entity_type: str | None = None
    entity_id: str | None = None
    session_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    def over(self, outer: Attribution) -> Attribution:
        """These values, and those of `outer` where these say nothing."""
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
    """One `with attribution(...)` that is under way: the merged values, who opened it, and what was there before."""

    attribution: Attribution
    owner: Scope
    outer: Frame | None


current: Final[ContextVar[Frame | None]] = ContextVar("infraprism.attribution", default=None)
"""The innermost attribution under way in this context."""


class Scope:
    """Sets an attribution for a block or for the calls of a function; reusable, nestable, safe across threads.

    Holds no state of its uses. Leaving removes the scope from the context it is left in, wherever it stands there, so
    that generators which are interleaved, or finished in another context, neither fail nor leave something behind.
    """

    __slots__ = ("_given",)

    def __init__(self, given: Attribution) -> None:
        self._given = given

    def __enter__(self) -> Attribution:
        outer = current.get()
        merged = self._given if outer is None else self._given.over(outer.attribution)
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
    above = []
    while frame is not None and frame.owner is not owner:
        above.append(frame)
        frame = frame.outer
    rest = None if frame is None else frame.outer
    for kept in reversed(above):
        rest = kept._replace(outer=rest)
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
    """Say who the LLM calls made in a `with` block, or in a decorated function, are for.

    At most one of customer, team, project and employee. Identifiers are up to 256 printable characters on one line;
    tags are up to 32 pairs, keys `[a-z][a-z0-9_.-]{0,63}`, values as identifiers or empty. Nested uses add up; the
    inner one wins. Raises nothing for a value that breaks a rule: it is left out, counted in `tally`, and logged
    once without the value.
    """
    entities = {
        kind: value
        for kind, value in zip(fields.ENTITY_TYPES, (customer, team, project, employee), strict=True)
        if value is not None
    }
    kind, entity = next(iter(entities.items()), (None, None))
    if len(entities) > 1:
        kind = entity = None
        _leave_out("entity", _ONE_ENTITY)
    return Scope(checked(kind, entity, session_id, tags))


def checked(entity_type: object, entity_id: object, session_id: object, tags: object) -> Attribution:
    """An attribution of what fits; None means not given."""
    kind, entity = _entity(entity_type, entity_id)
    return Attribution(kind, entity, _identifier("session_id", session_id), _tags(tags))


def _entity(entity_type: object, entity_id: object) -> tuple[str | None, str | None]:
    if entity_type is None and entity_id is None:
        return None, None
    if entity_type is None or entity_id is None:
        _leave_out("entity", _INCOMPLETE)
        return None, None
    if not isinstance(entity_type, str) or entity_type not in fields.ENTITY_TYPES:
        _leave_out("entity_type", _NOT_A_KIND)
        return None, None
    entity = _identifier(entity_type, entity_id)
    return (None, None) if entity is None else (str.__str__(entity_type), entity)


def _identifier(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if fits(fields.ENTITY_ID, text):
        return text
    _leave_out(name, _NOT_PRINTABLE)
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
        _leave_out("tags", _NOT_A_MAPPING)
        return ()
    kept = {}
    for key, value in tags.items():
        name, text = _text(key), _text(value)
        if name is None or not fields.TAG_KEY.fullmatch(name):
            _leave_out("tags", _NOT_TAG_KEY)
        elif not fits(fields.TAGS, text):
            _leave_out("tags", _NOT_TAG_VALUE)
        elif text is not None:
            kept[name] = text
    return _bounded(kept)


def _merged(inner: tuple[tuple[str, str], ...], outer: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not inner or not outer:
        return inner or outer
    return _bounded({**dict(inner), **{key: value for key, value in outer if key not in dict(inner)}})


def _bounded(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if len(tags) > fields.MAX_TAGS:
        _leave_out("tags", _TOO_MANY)
    return tuple(sorted(list(tags.items())[: fields.MAX_TAGS]))


def _leave_out(name: str, rule: str) -> None:
    delivery_stats.error(f"attribution.{name}")
    if (name, rule) not in _warned:
        _warned.add((name, rule))
        _log.warning("attribution: %s was left out: %s. Further ones are counted, not logged.", name, rule)
