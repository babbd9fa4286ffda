"""Which keys may leave, and with which values: read from the field table and the dialects' tables.

A table that says something this page has no guard for fails here, so that a new kind of value is thought about before
the collector lets it through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from collector.generator import guards, reductions
from collector.generator.guards import Kept

from infraprism.processor.dialects import DIALECTS, values
from infraprism.processor.dialects.table import READERS, As, Dialect, key_of
from infraprism.schema import fields
from infraprism.schema.fields import ENTITY_ID, ENTITY_TYPE, MAX_TOKENS, SESSION_ID

TIERS: Final = (*values.TIERS, values.UNKNOWN_TIER)
ATTRIBUTION: Final = (ENTITY_TYPE.key, ENTITY_ID.key, SESSION_ID.key)
"""Written by statements of their own, since the resource may say them too."""
EXCEPTION_TYPE: Final = "exception.type"
"""Where the class of an exception stands that the span recorded as an event."""

_BY_READER: Final[dict[object, Callable[[str], Kept]]] = {
    values.count: lambda key: guards.integer(key, 0, MAX_TOKENS),
    values.flag: guards.flag,
    values.seconds: guards.number,
    values.milliseconds: guards.number,
    values.money: guards.money,
    values.tier: lambda key: guards.choice(key, TIERS, other=values.UNKNOWN_TIER),
}
_BY_FIELD: Final[dict[str, Callable[[str], Kept]]] = {
    "http_status": lambda key: guards.integer(key, 100, 599),
    "request_model": lambda key: guards.pattern(key, fields.MODEL.re2),
    "response_model": lambda key: guards.pattern(key, fields.MODEL.re2),
    "provider": reductions.provider,
    "host": reductions.host,
    "error": reductions.error,
    "response_id": guards.fingerprint,
}
"""Texts, and numbers of narrower bounds."""
NEVER: Final = frozenset({"session_on_span"})
"""Fields that may be anything, and that only the application itself may let pass."""


def kept_keys(dialects: Sequence[Dialect] = DIALECTS) -> tuple[Kept, ...]:
    """Every key of the tables, once, in the tables' order, without those of the attribution."""
    return tuple({kept.key: kept for dialect in dialects for kept in _of(dialect, dialects)}.values())


def _of(dialect: Dialect, dialects: Sequence[Dialect]) -> Iterator[Kept]:
    for field, entries in dialect.keys.items():
        for entry in entries:
            key = key_of(entry)
            if key in ATTRIBUTION or field in NEVER:
                continue
            if field == "operation":
                yield guards.exact_choice(key, operations_of(key, dialects))
                continue
            reader = entry.reader if isinstance(entry, As) else READERS[field]
            if isinstance(reader, values.Word):
                yield guards.exact_choice(key, {reader.word})
                continue
            made = _BY_FIELD.get(field) or _BY_READER.get(reader)
            if made is None:
                raise LookupError(f"{key!r} of dialect {dialect.name!r}: no guard is known for the field {field!r}")
            yield made(key)
    # Read for being there, whatever they say.
    unread = {*dialect.signs, *dialect.other_markers} - {key for other in dialects for key in other.slots}
    yield from map(guards.presence, sorted(unread))


def json_paths(dialects: Sequence[Dialect] = DIALECTS) -> dict[str, tuple[tuple[str, ...], ...]]:
    """For each key whose value is a JSON text the paths to the numbers that the tables read in it."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for dialect in dialects:
        named = [name for field in dialect.keys for name in keys_of(field, dialect)]
        for key in sorted(dialect.json_texts):
            paths = (tuple(name.removeprefix(key + ".").split(".")) for name in named if name.startswith(key + "."))
            found.setdefault(key, {}).update(dict.fromkeys(paths))
    return {key: tuple(paths) for key, paths in found.items()}


def keys_of(field: str, dialect: Dialect) -> tuple[str, ...]:
    """The keys under which a dialect writes a field."""
    return tuple(map(key_of, dialect.keys.get(field, ())))


def operations_of(key: str, dialects: Sequence[Dialect] = DIALECTS) -> frozenset[str]:
    """The values of an operation key that are billed calls."""
    return frozenset().union(*(set(d.operations) for d in dialects if key in keys_of("operation", d)))


def event_keys() -> tuple[Kept, ...]:
    """The fields of an event of our own, without its tags."""
    return tuple(guards.of_field(field) for field in fields.FIELDS if field.kind != "tags")
