"""Read model, id, usage and error code of a response, by tables of field names.

A table maps the fields that are read to span attributes; a field that contains further fields maps to a nested table.
Of a list only the first item is read. A field that depends on the fields next to it maps to a `Derived` attribute. No
other field of a response is read, whether it is an object of the client package or decoded JSON. A value that is not of
the type of its attribute is ignored.
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
Reader = Callable[[object], Attribute | None]


class Derived(NamedTuple):
    """An attribute that is calculated from several fields of the object that contains the field of the table."""

    target: str
    read: Callable[[Mapping[str, Any]], Attribute | None]


Table = Mapping[str, Union[str, Derived, "Table"]]


class ReadPlan(NamedTuple):
    """A compiled table: the counts, the fields with a reader, the derived attributes, and the nested tables.

    They are read in this order, and nested tables in the order of the table. A later value takes precedence.
    """

    counts: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str, Reader], ...]
    derived: tuple[tuple[str, Derived], ...]
    tables: tuple[tuple[str, ReadPlan], ...]


_is_identifier: Final = fields.MODEL.regex.fullmatch
_MAX_COUNT: Final = fields.MAX_TOKENS
_NO_FIELDS: Final[dict[str, Any]] = {}


@dataclass(frozen=True, eq=False, repr=False)
class StreamEvent:
    """A type of stream event that contains usage: the `path` of fields to the object with it, and its table."""

    path: tuple[str, ...]
    table: Table

    @cached_property
    def plan(self) -> ReadPlan:
        """The compiled table."""
        return compile_table(self.table)


@dataclass(frozen=True, eq=False, repr=False)
class Operation:
    """One kind of billed call.

    `name` is its `gen_ai.operation.name`, and `response` the table of a complete response. `events` are the stream
    events that contain usage, by their `type`; if there are none, every chunk of a stream has the fields of a response.
    `constants` are attributes of every such call. `input_excludes_cache`: the provider reports cached input in addition
    to the input tokens, while the semantic conventions include it in them.
    """

    name: str
    response: Table
    events: Mapping[str, StreamEvent] = field(default_factory=dict)
    constants: Mapping[str, Attribute] = field(default_factory=dict)
    input_excludes_cache: bool = False

    @cached_property
    def plan(self) -> ReadPlan:
        """The compiled table of a complete response."""
        return compile_table(self.response)


def compile_table(table: Table) -> ReadPlan:
    """Compile a table, since it is read at every call."""
    keys = {name: target for name, target in table.items() if isinstance(target, str)}
    counts = {name: target for name, target in keys.items() if target not in _READERS}
    return ReadPlan(
        tuple(counts.items()),
        tuple((name, target, _READERS[target]) for name, target in keys.items() if target in _READERS),
        tuple((name, target) for name, target in table.items() if isinstance(target, Derived)),
        tuple((name, compile_table(target)) for name, target in table.items() if isinstance(target, Mapping)),
    )


def read_fields(source: object, plan: ReadPlan, attributes: dict[str, Attribute]) -> None:
    """Add the values of the table's fields to `attributes`. A field that is absent or null changes nothing."""
    values = _fields(source)
    get = values.get
    for name, target in plan.counts:
        count = get(name)
        if type(count) is int and 0 <= count <= _MAX_COUNT:
            attributes[target] = count
    for name, target, reader in plan.others:
        value = get(name)
        if value is not None and (checked := reader(value)) is not None:
            attributes[target] = checked
    for name, derived in plan.derived:
        if get(name) is not None and (checked := derived.read(values)) is not None:
            attributes[derived.target] = checked
    for name, nested in plan.tables:
        value = get(name)
        if value is not None:
            if type(value) is list:
                value = value[0] if value else None
            read_fields(value, nested, attributes)


def _fields(source: object) -> dict[str, Any]:
    values: dict[str, Any] = source if isinstance(source, dict) else getattr(source, "__dict__", _NO_FIELDS)
    if extra := getattr(source, "__pydantic_extra__", None):
        return {**extra, **{name: value for name, value in values.items() if value is not None}}
    return values


def get_field(source: object, name: str) -> Any:
    """One field of an object of a client package or of a decoded JSON object, or None."""
    # Pydantic keeps the fields in the instance's dictionary, and fields that the class does not declare in
    # `__pydantic_extra__`. Reading both directly runs no foreign code, and is cheap where a field is missing.
    if isinstance(source, dict):
        return source.get(name)
    value = getattr(source, "__dict__", _NO_FIELDS).get(name)
    return (getattr(source, "__pydantic_extra__", None) or _NO_FIELDS).get(name) if value is None else value


def identifier(value: object) -> str | None:
    """The value if it is a valid model, id or tier, else None: other text must not become an attribute."""
    return value if type(value) is str and _is_identifier(value) else None


def repeated_identifier(value: object) -> str | None:
    """`identifier` with a cache, for values that repeat from call to call: a model, a tier."""
    return _cached_identifier(value) if type(value) is str and len(value) <= _MAX_IDENTIFIER else None


_cached_identifier: Final = lru_cache(maxsize=256)(identifier)
_MAX_IDENTIFIER: Final = 128


def amount(value: object) -> Decimal | None:
    """The value if it is an amount of money: a finite number that is not negative."""
    if type(value) not in (int, float) or not isfinite(value) or value < 0:  # type: ignore[arg-type,operator]
        return None
    # The shortest representation of a float has the digits of the JSON text.
    return Decimal(repr(value))


def usd(value: Decimal) -> str:
    """An amount in USD as the value of an attribute."""
    return format(value, "f")


_READERS: Final[Mapping[str, Reader]] = {
    key.RESPONSE_MODEL: repeated_identifier,
    key.RESPONSE_ID: identifier,
    key.OPENAI_SERVICE_TIER: repeated_identifier,
    key.ANTHROPIC_SERVICE_TIER: repeated_identifier,
    key.ERROR_TYPE: error_types.of_response,
}
