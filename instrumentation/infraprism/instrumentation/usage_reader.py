"""Where an answer keeps its numbers, as data, and the one reader of it.

A table names the few fields that are looked at and the span attribute that each becomes; a field that holds further
fields is a table itself. Nothing else of an answer is touched, whether it is one of the client package's objects or
decoded JSON. A value of another type than its attribute has is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple, Union

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import error_types
from infraprism.schema import fields

Attribute = str | int | float | bool
Table = Mapping[str, Union[str, "Table"]]
Reader = Callable[[object], Attribute | None]


class Steps(NamedTuple):
    """A table, quick to go through: its counts, the fields that have a reader, and the fields that hold a table.

    They are gone through in this order, so that what a table inside says wins.
    """

    counts: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str, Reader], ...]
    tables: tuple[tuple[str, Steps], ...]


_is_identifier: Final = fields.MODEL.regex.fullmatch
_MAX_COUNT: Final = fields.MAX_TOKENS
_NONE: Final[dict[str, Any]] = {}


@dataclass(frozen=True, eq=False, repr=False)
class StreamEvent:
    """A kind of stream event that carries numbers: the fields to walk to them (`path`), and their table."""

    path: tuple[str, ...]
    table: Table

    @cached_property
    def plan(self) -> Steps:
        """The table, quick to go through."""
        return steps(self.table)


@dataclass(frozen=True, eq=False, repr=False)
class Operation:
    """One kind of billed call.

    `name` is its `gen_ai.operation.name`; `answer` the table of a whole answer. `events` are the stream events that
    carry numbers, by their `type`; with none, every chunk of a stream is shaped like an answer. `constants` are
    attributes of every such call. `cache_beside_input`: the provider counts cached input beside the input, and the
    conventions count it as part of it.
    """

    name: str
    answer: Table
    events: Mapping[str, StreamEvent] = field(default_factory=dict)
    constants: Mapping[str, Attribute] = field(default_factory=dict)
    cache_beside_input: bool = False

    @cached_property
    def plan(self) -> Steps:
        """The table of a whole answer, quick to go through."""
        return steps(self.answer)


def read(source: object, table: Table, found: dict[str, Attribute]) -> None:
    """Add to `found` what the table names; what is absent or null leaves a value that was found before."""
    take(source, steps(table), found)


def steps(table: Table) -> Steps:
    """A table in the form that is quick to go through: it is gone through at every call."""
    keys = {name: target for name, target in table.items() if isinstance(target, str)}
    counts = {name: target for name, target in keys.items() if target not in _READERS}
    return Steps(
        tuple(counts.items()),
        tuple((name, target, _READERS[target]) for name, target in keys.items() if target in _READERS),
        tuple((name, steps(target)) for name, target in table.items() if not isinstance(target, str)),
    )


def take(source: object, plan: Steps, found: dict[str, Attribute]) -> None:
    """The same as `read`."""
    values: dict[str, Any] = source if isinstance(source, dict) else getattr(source, "__dict__", _NONE)
    if extra := getattr(source, "__pydantic_extra__", None):
        values = {**extra, **{name: value for name, value in values.items() if value is not None}}
    get = values.get
    for name, target in plan.counts:
        count = get(name)
        if type(count) is int and 0 <= count <= _MAX_COUNT:
            found[target] = count
    for name, target, reader in plan.others:
        value = get(name)
        if value is not None and (checked := reader(value)) is not None:
            found[target] = checked
    for name, inner in plan.tables:
        value = get(name)
        if value is not None:
            take(value, inner, found)


def get(source: object, name: str) -> Any:
    """One field of an object of a client package or of a decoded JSON object, or None."""
    # Pydantic keeps the fields in the instance's dictionary, and what its class does not know beside it. Looking
    # there instead of asking for attributes runs no code of others and costs nothing where a field is missing.
    if isinstance(source, dict):
        return source.get(name)
    value = getattr(source, "__dict__", _NONE).get(name)
    return (getattr(source, "__pydantic_extra__", None) or _NONE).get(name) if value is None else value


def identifier(value: object) -> str | None:
    """A model, id or tier if it looks like one; text of any other kind has no place on a span."""
    return value if type(value) is str and _is_identifier(value) else None


def name(value: object) -> str | None:
    """The same of what comes again with each call: a model, a tier."""
    return _checked(value) if type(value) is str and len(value) <= _MAX_IDENTIFIER else None


_checked: Final = lru_cache(maxsize=256)(identifier)
_MAX_IDENTIFIER: Final = 128


def _cost_usd(value: object) -> str | None:
    if type(value) not in (int, float) or not isfinite(value) or value < 0:  # type: ignore[arg-type,operator]
        return None
    # The shortest text that is the same number is what stood in the JSON.
    return format(Decimal(repr(value)), "f")


_READERS: Final[Mapping[str, Reader]] = {
    key.RESPONSE_MODEL: name,
    key.RESPONSE_ID: identifier,
    key.OPENAI_SERVICE_TIER: name,
    key.ANTHROPIC_SERVICE_TIER: name,
    key.ERROR_TYPE: error_types.reported,
    key.REPORTED_COST_USD: _cost_usd,
}
