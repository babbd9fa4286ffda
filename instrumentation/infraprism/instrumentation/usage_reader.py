"""Read model, id, usage and error code of a response, by tables of field names.

A table maps the fields that are read to span attributes; a field that contains further fields maps to a nested table,
or to a function where a table cannot express how it is read. A field that depends on the fields next to it maps to a
`Derived` attribute. Of a list that has a table only the first item is read. No other field of a response is read,
whether it is an object of the client package or decoded JSON. A value that is not of the type of its attribute is
ignored.

A table with `IGNORED` fields is closed: a number other than 0 in a field that it does not have may change the bill, so
that the call has unpriced usage.
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
from infraprism.schema.call_context import BACKGROUND_PENDING, BACKGROUND_RESULT

Attribute = str | int | float | bool
ReadField = Callable[[object, dict[str, Attribute]], None]
Reader = Callable[[object], Attribute | None]


class Derived(NamedTuple):
    """An attribute that is calculated from several fields of the object that contains the field of the table."""

    target: str
    read: Callable[[Mapping[str, Any]], Attribute | None]


Table = Mapping[str, Union[str, Derived, "Table", ReadField]]


class ReadPlan(NamedTuple):
    """A compiled table: the counts, fields with a reader, nested tables, derived attributes, fields with a function.

    They are read in this order, and those of one kind in the order of the table. A later value takes precedence.
    `known` are all fields of a closed table.
    """

    counts: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str, Reader], ...]
    tables: tuple[tuple[str, ReadPlan], ...]
    derived: tuple[tuple[str, Derived], ...]
    functions: tuple[tuple[str, ReadField], ...]
    known: frozenset[str] | None


IGNORED: Final = ""
"""The target of a field that is known to change no bill by itself."""
CLOSED: Final[Mapping[str, str]] = {"": IGNORED}
"""Makes a table closed that has no ignored field."""
_MAX_ITEMS: Final = 64
_MAX_DEPTH: Final = 4
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
    to the input tokens, while the semantic conventions include it in them. `complete` is called once, before that, with
    the attributes of a call that has usage parts. `on_end`: completes the attributes when a call ends; its second
    argument is whether the response was streamed. `usage_on_request`: a stream reports usage only if the request has
    `stream_options.include_usage`.
    """

    name: str
    response: Table
    events: Mapping[str, StreamEvent] = field(default_factory=dict)
    constants: Mapping[str, Attribute] = field(default_factory=dict)
    input_excludes_cache: bool = False
    on_end: Callable[[dict[str, Attribute], bool], None] | None = None
    usage_on_request: bool = False
    complete: Callable[[dict[str, Attribute]], None] | None = None

    @cached_property
    def plan(self) -> ReadPlan:
        """The compiled table of a complete response."""
        return compile_table(self.response)


def compile_table(table: Table) -> ReadPlan:
    """Compile a table, since it is read at every call."""
    keys = {name: target for name, target in table.items() if isinstance(target, str) and target != IGNORED}
    counts = {name: target for name, target in keys.items() if target not in _READERS}
    return ReadPlan(
        tuple(counts.items()),
        tuple((name, target, _READERS[target]) for name, target in keys.items() if target in _READERS),
        tuple((name, compile_table(target)) for name, target in table.items() if isinstance(target, Mapping)),
        tuple((name, target) for name, target in table.items() if isinstance(target, Derived)),
        tuple((name, target) for name, target in table.items() if callable(target)),
        frozenset(table) if IGNORED in table.values() else None,
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
    for name, nested in plan.tables:
        value = get(name)
        if value is not None:
            if type(value) is list:
                value = value[0] if value else None
            read_fields(value, nested, attributes)
    if plan.known is not None or plan.derived or plan.functions:
        _read_rest(values, plan, attributes)


def _read_rest(values: dict[str, Any], plan: ReadPlan, attributes: dict[str, Attribute]) -> None:
    """Read derived attributes and fields with a function, and check the fields of a closed table."""
    for name, derived in plan.derived:
        if values.get(name) is not None and (checked := derived.read(values)) is not None:
            attributes[derived.target] = checked
    for name, function in plan.functions:
        value = values.get(name)
        if value is not None:
            function(value, attributes)
    known = plan.known
    if (
        known is not None
        and not known.issuperset(values)
        and any(name not in known and has_number(value) for name, value in values.items())
    ):
        attributes[key.UNPRICED_USAGE] = True


def has_number(value: object, depth: int = 0) -> bool:
    """Whether a value is a number other than 0, or contains one. Texts and flags are not read."""
    if type(value) in {int, float}:
        return value != 0
    if depth >= _MAX_DEPTH or value is None or isinstance(value, str | bytes | bool):
        return False
    if isinstance(value, list | tuple):
        return any(has_number(item, depth + 1) for item in value[:_MAX_ITEMS])
    values = value if isinstance(value, dict) else getattr(value, "__dict__", _NO_FIELDS)
    extra = getattr(value, "__pydantic_extra__", None) or _NO_FIELDS
    return any(has_number(item, depth + 1) for item in (*values.values(), *extra.values()))


def items_of(value: object) -> list[object]:
    """The items of a list, at most as many as a response of a provider has; none of any other value."""
    return value[:_MAX_LIST] if isinstance(value, list) else []


_MAX_LIST: Final = 1024


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


def _response_state(value: object) -> str | None:
    if value in ("queued", "in_progress"):
        return BACKGROUND_PENDING
    return BACKGROUND_RESULT if value in ("completed", "incomplete", "failed", "cancelled") else None


def _boolean(value: object) -> str | None:
    return str(value) if type(value) is bool else None


def _seconds(value: object) -> str | None:
    """Seconds since 1970, without the fraction. Text, since counts have another bound."""
    if type(value) not in (int, float) or not 0 <= value < _MAX_SECONDS:  # type: ignore[operator]
        return None
    return str(int(value))  # type: ignore[call-overload]


_MAX_SECONDS: Final = 2**33
_READERS: Final[Mapping[str, Reader]] = {
    key.RESPONSE_MODEL: repeated_identifier,
    key.RESPONSE_ID: identifier,
    key.OPENAI_SERVICE_TIER: repeated_identifier,
    key.ANTHROPIC_SERVICE_TIER: repeated_identifier,
    key.ERROR_TYPE: error_types.of_response,
    key.RESPONSE_STATUS: _response_state,
    key.IS_BACKGROUND: _boolean,
    key.CREATED_AT: _seconds,
    key.COMPLETED_AT: _seconds,
    key.INFERENCE_GEO: repeated_identifier,
    key.SPEED: repeated_identifier,
}
