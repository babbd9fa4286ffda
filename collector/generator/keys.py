"""Which keys may leave, and with which values: read from the field table and the dialects' tables.

A table that says something this page has no guard for fails here, so that a new kind of value is thought about before
the collector lets it through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from collector.generator import guards, reductions
from collector.generator.guards import Kept

from infraprism.dialects import DIALECTS, values
from infraprism.dialects.table import READERS, As, Dialect, key_of
from infraprism.schema import fields
from infraprism.schema.fields import ENTITY_ID, ENTITY_TYPE, SESSION_ID

TIERS: Final = (*values.TIERS, values.UNKNOWN_TIER)
ATTRIBUTION: Final = (ENTITY_TYPE.key, ENTITY_ID.key, SESSION_ID.key)
"""Written by statements of their own, since the resource may say them too."""
EXCEPTION_TYPE: Final = "exception.type"
"""Where the class of an exception stands that the span recorded as an event."""
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
STREAMED: Final = "gen_ai.request.stream"
"""Where it stands that a stream began, and after how many seconds, that a span event told."""

_BY_READER: Final[dict[object, Callable[[str], Kept]]] = {
    values.count: guards.count,
    values.quoted_model: lambda key: guards.quoted(key, fields.MODEL.re2),
    values.flag: guards.flag,
    values.stream_object: lambda key: guards.noted(key, values.STREAM_OBJECT),
    values.failure: guards.flag,
    values.ended_in_error: lambda key: guards.only(key, values.ERROR_END),
    values.seconds: guards.number,
    values.milliseconds: guards.number,
    values.money: guards.money,
    values.error_in_text: reductions.error_in_text,
    values.tier: lambda key: guards.choice(key, TIERS, other=values.UNKNOWN_TIER),
}
_BY_FIELD: Final[dict[str, Callable[[str], Kept]]] = {
    "http_status": guards.http_status,
    "request_model": lambda key: guards.pattern(key, fields.MODEL.re2),
    "response_model": lambda key: guards.pattern(key, fields.MODEL.re2),
    "provider": reductions.provider,
    "host": reductions.host,
    "error": reductions.error,
    "error_code": reductions.error,
    "response_id": guards.fingerprint,
}
"""Texts, and numbers of narrower bounds."""
NEVER: Final = frozenset({"session_on_span"})
"""Fields that may be anything, and that only the application itself may let pass."""


def kept_keys(dialects: Sequence[Dialect] = DIALECTS) -> tuple[Kept, ...]:
    """Every key of the tables, once, in the order of the keys, without those of the attribution.

    What two dialects read in different ways under one key may leave in either.
    """
    found: dict[str, dict[object, Kept]] = {}
    for dialect in dialects:
        for field, entries in dialect.keys.items():
            for entry in entries:
                key = key_of(entry)
                if key not in ATTRIBUTION and field not in NEVER:
                    reader = entry.reader if isinstance(entry, As) else READERS[field]
                    kind, guard = _guard(dialect, field, key, reader, dialects)
                    found.setdefault(key, {}).setdefault(kind, guard)
    # Read for being there, whatever they say: what tells a dialect, and is no key of any field.
    told_by = sorted({key for dialect in dialects for key in dialect.marker_keys()} - found.keys())
    return (
        *(guards.either(tuple(kept.values())) for _, kept in sorted(found.items())),
        *(guards.presence(key) for key in told_by if key not in ATTRIBUTION),
    )


def _guard(dialect: Dialect, field: str, key: str, reader: object, dialects: Sequence[Dialect]) -> tuple[object, Kept]:
    """What tells one guard from another, and the guard."""
    if isinstance(reader, values.Words):
        known = [word for word, _ in reader.means]
        return ("words", *known), guards.exact_choice(key, known)
    if field == "operation":
        return field, guards.exact_choice(key, operations_of(key, dialects))
    by_field = _BY_FIELD.get(field) if reader is READERS[field] else None
    made = by_field or _BY_READER.get(reader)
    if made is None:
        raise LookupError(f"{key!r} of dialect {dialect.name!r}: no guard is known for the field {field!r}")
    return made, made(key)


def json_paths(dialects: Sequence[Dialect] = DIALECTS) -> dict[str, tuple[tuple[str, ...], ...]]:
    """For each key whose value is a JSON text the paths to the numbers that the tables read in it."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for dialect in dialects:
        named = [name for field in dialect.keys for name in keys_of(field, dialect)]
        for key in sorted(dialect.json_texts):
            paths = (tuple(name.removeprefix(key + ".").split(".")) for name in named if name.startswith(key + "."))
            found.setdefault(key, {}).update(dict.fromkeys(paths))
    return {key: tuple(sorted(paths)) for key, paths in sorted(found.items())}


def exception_fails(dialects: Sequence[Dialect]) -> frozenset[str]:
    """The markers of the dialects whose recorded exceptions say that a call failed, whatever the span's status is."""
    return frozenset().union(*(dialect.required_any for dialect in dialects if dialect.exception_fails))


def first_chunk_events(dialects: Sequence[Dialect] = DIALECTS) -> dict[str, frozenset[str]]:
    """For the markers of the dialects that have them the names of the span events that mark a stream's first chunk.

    Raises LookupError for a dialect that could not read what is noted of them.
    """
    found: dict[str, frozenset[str]] = {}
    for dialect in dialects:
        for marker in dialect.required_any if dialect.first_chunk_events else ():
            if not {FIRST_CHUNK, STREAMED} <= dialect.slots.keys():
                raise LookupError(f"dialect {dialect.name!r} does not read {FIRST_CHUNK} and {STREAMED}")
            found[marker] = found.get(marker, frozenset()) | dialect.first_chunk_events
    return found


def keys_of(field: str, dialect: Dialect) -> tuple[str, ...]:
    """The keys under which a dialect writes a field."""
    return tuple(map(key_of, dialect.keys.get(field, ())))


def operations_of(key: str, dialects: Sequence[Dialect] = DIALECTS) -> frozenset[str]:
    """The values of an operation key that are billed calls."""
    return frozenset().union(*(set(d.operations) for d in dialects if key in keys_of("operation", d)))


def event_keys() -> tuple[Kept, ...]:
    """The fields of an event of our own, without its tags."""
    return tuple(guards.of_field(field) for field in fields.FIELDS if field.kind != "tags")
