"""Where an answer keeps its numbers, as data, and the one reader of it.

A table names the few fields that are looked at and the span attribute that each becomes; a field that holds further
fields is a table itself. Nothing else of an answer is touched, whether it is one of the client package's objects or
decoded JSON. A value of another type than its attribute has is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any, Final, Union

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import error_types
from infraprism.schema import fields

Attribute = str | int | float | bool
Table = Mapping[str, Union[str, "Table"]]
Steps = tuple[tuple[str, str, Callable[[object], Attribute | None] | None, Union["Steps", None]], ...]
"""Name of the field, attribute, reader of it if it is no count; or name and the steps of the table that it holds."""

_is_identifier: Final = fields.MODEL.regex.fullmatch
_NONE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class StreamEvent:
    """A kind of stream event that carries numbers: the fields to walk to them (`path`), and their table."""

    path: tuple[str, ...]
    table: Table

    @cached_property
    def plan(self) -> Steps:
        """The table, quick to go through."""
        return steps(self.table)


@dataclass(frozen=True)
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
    return tuple(
        (name, target, _READERS.get(target), None) if isinstance(target, str) else (name, "", None, steps(target))
        for name, target in table.items()
    )


def take(source: object, plan: Steps, found: dict[str, Attribute]) -> None:
    """The same as `read`."""
    values, extra = _values(source)
    for name, target, reader, inner in plan:
        value = values.get(name)
        if value is None:
            value = extra.get(name) if extra else None
            if value is None:
                continue
        if inner is not None:
            take(value, inner, found)
        elif reader is not None:
            checked = reader(value)
            if checked is not None:
                found[target] = checked
        elif type(value) is int and 0 <= value <= fields.MAX_TOKENS:
            found[target] = value


def get(source: object, name: str) -> Any:
    """One field of an object of a client package or of a decoded JSON object, or None."""
    values, extra = _values(source)
    value = values.get(name)
    return extra.get(name) if value is None else value


def _values(source: object) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    # Pydantic keeps the fields in the instance's dictionary, and what its class does not know beside it. Looking
    # there instead of asking for attributes runs no code of others and costs nothing where a field is missing.
    if isinstance(source, dict):
        return source, _NONE
    return getattr(source, "__dict__", _NONE), getattr(source, "__pydantic_extra__", None) or _NONE


def identifier(value: object) -> str | None:
    """A model, id or tier if it looks like one; text of any other kind has no place on a span."""
    return value if type(value) is str and _is_identifier(value) else None


def _cost_usd(value: object) -> str | None:
    if type(value) not in (int, float) or not isfinite(value) or value < 0:  # type: ignore[arg-type,operator]
        return None
    # The shortest text that is the same number is what stood in the JSON.
    return format(Decimal(repr(value)), "f")


_READERS: Final[Mapping[str, Callable[[object], Attribute | None]]] = {
    key.RESPONSE_MODEL: identifier,
    key.RESPONSE_ID: identifier,
    key.OPENAI_SERVICE_TIER: identifier,
    key.ANTHROPIC_SERVICE_TIER: identifier,
    key.ERROR_TYPE: error_types.reported,
    key.REPORTED_COST_USD: _cost_usd,
}
