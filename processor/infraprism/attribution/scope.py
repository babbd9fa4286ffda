"""Attributes calls to a customer, team, project or employee: the value of a ContextVar, read when a span starts.

The value is propagated like any ContextVar, through `await` and into asyncio tasks. It never leaves the process: it
is not baggage. docs/attribution.md shows how to carry it into threads, other processes and generators.

A process can have a default in its resource attributes (`OTEL_RESOURCE_ATTRIBUTES`): `infraprism.entity_type`,
`infraprism.entity_id`, `infraprism.session_id` and `infraprism.tags.<key>`. `attribution` takes precedence over the
resource, and attributes of these names on a span take precedence over both. The entity and the
session are replaced; tags are merged by key.
"""

from __future__ import annotations

import logging
import operator
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple, SupportsIndex, TypeVar
from uuid import UUID

from infraprism.attribution.decorators import scoped
from infraprism.attribution.generators import OpenGenerator, describe, innermost_running, open_generators, owner_of
from infraprism.schema import fields
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.event import fits

_log: Final = logging.getLogger("infraprism.attribution")
_F = TypeVar("_F", bound=Callable[..., Any])
Identifier = str | SupportsIndex | UUID
"""Types of identifiers and tag values: strings, integers of any type, and UUIDs. The event has them as strings."""

delivery_stats: Final = DeliveryStats()
"""Counts invalid values, which are ignored, as errors named `attribution.<field>`."""
warned: Final[set[tuple[str, str]]] = set()
"""Pairs of field or tag key, and rule, that were logged."""

_NOT_PRINTABLE: Final = "must be 1 to 256 printable characters on one line"
_NOT_TAG_VALUE: Final = "must be up to 256 printable characters on one line"
_NOT_TAG_KEY: Final = f"keys must match {fields.TAG_KEY.pattern}"
_LOGGED_KEY: Final = re.compile("[A-Za-z0-9_.-]{1,64}")
_MAX_WARNED: Final = 100
"""Lines about invalid values in a process, since the keys of tags may vary."""
_TOO_MANY: Final = f"at most {fields.MAX_TAGS} tags"
_ONE_ENTITY: Final = "set at most one of customer, team, project and employee; all were ignored"
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


class Block(NamedTuple):
    """One active `with attribution(...)` block: its merged values, its scope, and the enclosing block."""

    attribution: Attribution
    scope: object
    outer: Block | None
    generator: OpenGenerator | None = None
    """The generator that entered the block. The block applies only while it runs."""
    entered_in: OpenGenerator | None = None
    """The generator that was running when a function that it called entered the block."""

    def applies(self, running: OpenGenerator | None) -> bool:
        """Whether the block applies to the current code. `running` is the innermost generator of its callers."""
        if running is not None:
            return (self.generator or self.entered_in) is running
        return self.generator is None or self.generator.is_running()


current: Final[ContextVar[Block | None]] = ContextVar("infraprism.attribution", default=None)
"""The innermost active block in this context."""


def active_attribution() -> Attribution | None:
    """The merged values that apply to the current code; None outside of all blocks."""
    block = current.get()
    if not open_generators and (block is None or block.generator is None):
        return None if block is None else block.attribution
    running = innermost_running(sys._getframe(1)) if open_generators else None  # noqa: SLF001 - CPython's documented API
    while block is not None and not block.applies(running):
        block = block.outer
    if block is not None:
        return block.attribution
    return running.blocks[-1][1] if running is not None and running.blocks else None


class _Context:
    """Enters an attribution without regard to generators. The decorator enters it only while a generator runs."""

    __slots__ = ("_attribution",)

    def __init__(self, attribution: Attribution) -> None:
        self._attribution = attribution

    def __enter__(self) -> Attribution:
        entered_in = innermost_running(sys._getframe(1)) if open_generators else None  # noqa: SLF001 - as above
        return self._enter(None, entered_in)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit(None)

    def _enter(self, generator: OpenGenerator | None, entered_in: OpenGenerator | None) -> Attribution:
        outer = active_attribution()
        merged = self._attribution if outer is None else self._attribution.over(outer)
        current.set(Block(merged, self, _without_closed(current.get()), generator, entered_in))
        if generator is not None:
            generator.blocks.append((self, merged))
        return merged

    def _exit(self, generator: OpenGenerator | None) -> None:
        if generator is not None:
            generator.close(self)
        current.set(_without(current.get(), self, generator))


class Scope(_Context):
    """Context manager and decorator that sets an attribution. Reusable, reentrant and thread-safe: it has no state.

    `__exit__` removes the block of this scope from the current context at any depth. So generators may be interleaved
    or closed in another context: they do not fail, and no block remains.
    """

    __slots__ = ()

    def __enter__(self) -> Attribution:
        caller = sys._getframe(1)  # noqa: SLF001 - CPython's documented API
        frame = owner_of(caller)
        if frame is None:
            return self._enter(None, innermost_running(caller) if open_generators else None)
        _warn_of_generator(frame.f_code)
        generator = open_generators.get(frame)
        if generator is None:
            generator = open_generators[frame] = OpenGenerator(frame)
        return self._enter(generator, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit(self._generator_of(sys._getframe(1)) if open_generators else None)  # noqa: SLF001 - as above

    def __call__(self, function: _F) -> _F:
        """Decorate a function, coroutine function, generator function or asynchronous generator function."""
        return scoped(_Context(self._attribution), function)

    def _generator_of(self, caller: FrameType) -> OpenGenerator | None:
        """The generator of the block that is left: the caller, or by the context if an exit stack moved the block."""
        frame = owner_of(caller)
        found = None if frame is None else open_generators.get(frame)
        if found is not None and found.has(self):
            return found
        block = current.get()
        while block is not None and block.scope is not self:
            block = block.outer
        return None if block is None else block.generator


def _without_closed(block: Block | None) -> Block | None:
    """The chain without its first blocks that generators closed in another context."""
    while block is not None and block.generator is not None and block.generator.frame is None:
        block = block.outer
    return block


def _without(block: Block | None, scope: object, generator: OpenGenerator | None) -> Block | None:
    inner = []
    while block is not None and not (block.scope is scope and block.generator is generator):
        inner.append(block)
        block = block.outer
    rest = None if block is None else block.outer
    for each in reversed(inner):
        rest = each._replace(outer=rest)
    return rest


warned_generators: Final[set[CodeType]] = set()
"""Generator functions that were logged."""


def _warn_of_generator(code: CodeType) -> None:
    if code not in warned_generators:
        warned_generators.add(code)
        _log.warning(
            "attribution: the generator %s (%s:%d) enters attribution() in its body. It applies only while the "
            "generator runs. Decorate the generator function with @attribution(...) instead; see docs/attribution.md.",
            *describe(code),
        )


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

    At most one of customer, team, project and employee. Identifiers are up to 256 printable characters on one line,
    or integers.
    `tags` are up to 32 pairs; keys match `[a-z][a-z0-9_.-]{0,63}`, values are like identifiers or empty. Nested
    attributions are merged; the inner one takes precedence. Upper-case tag keys are folded to lower case. Decorate a
    generator function; do not enter a block in its body. Never raises: an invalid value is ignored, counted in
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


def current_attribution() -> dict[str, Any]:
    """The attribution that applies to the current code, as keyword arguments of `attribution`.

    It consists of strings and can be sent to another process as JSON: `with attribution(**carried): ...`.
    """
    active = active_attribution() or NOTHING
    carried: dict[str, Any] = {}
    if active.entity_type is not None:
        carried[active.entity_type] = active.entity_id
    if active.session_id is not None:
        carried["session_id"] = active.session_id
    if active.tags:
        carried["tags"] = dict(active.tags)
    return carried


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
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, bool) or value is None:
        return None
    try:
        return str(value) if isinstance(value, UUID) else str(operator.index(value))  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - the value is not an integer, or its type raises
        return None


def _tags(tags: object) -> tuple[tuple[str, str], ...]:
    if not tags:
        return ()
    if not isinstance(tags, Mapping):
        _ignore("tags", _NOT_A_MAPPING)
        return ()
    valid: dict[str, str] = {}
    folded: dict[str, str] = {}
    for key, value in tags.items():
        name, text = _text(key), _text(value)
        if name is None or not fields.TAG_KEY.fullmatch(name.lower()):
            _ignore("tags", _NOT_TAG_KEY, key)
        elif not fits(fields.TAGS, text):
            _ignore("tags", _NOT_TAG_VALUE, key)
        elif text is not None:
            (valid if name == name.lower() else folded)[name.lower()] = text
    # A key that is in lower case takes precedence over one that was folded to it.
    return _bounded({**valid, **{key: text for key, text in folded.items() if key not in valid}})


def _merged(inner: tuple[tuple[str, str], ...], outer: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if not inner or not outer:
        return inner or outer
    return _bounded({**dict(inner), **{key: value for key, value in outer if key not in dict(inner)}})


def _bounded(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if len(tags) > fields.MAX_TAGS:
        _ignore("tags", _TOO_MANY)
    return tuple(sorted(list(tags.items())[: fields.MAX_TAGS]))


def _ignore(name: str, rule: str, key: object = None) -> None:
    """Count an invalid value, and log it once. A tag is logged with its key, unless the key may be text of a user."""
    delivery_stats.error(f"attribution.{name}")
    shown = f"tag {key!r}" if type(key) is str and _LOGGED_KEY.fullmatch(key) else name
    if (shown, rule) not in warned and len(warned) < _MAX_WARNED:
        warned.add((shown, rule))
        _log.warning("attribution: %s was ignored: %s. Further invalid values are counted, not logged.", shown, rule)
