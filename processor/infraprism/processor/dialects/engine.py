"""Reads a span's attributes by the tables: one pass, and only values under keys of a table are ever looked at.

This runs for every call of the application, so it is written for few instructions: plain tuples, and a function call
only for a value that is not of the type it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from infraprism.processor.dialects import DIALECTS, values
from infraprism.processor.dialects.table import Dialect, Said
from infraprism.processor.usage import Usage
from infraprism.schema.fields import MAX_TOKENS, TAG_PREFIX

MARKERS: Final = frozenset().union(*(dialect.markers for dialect in DIALECTS))
"""A span that has none of these keys is no LLM call of any dialect."""

_NOTHING: Final[list[Any]] = [None] * len(Said._fields)
_FIRST_COUNT: Final = Said._fields.index("input_tokens")
_LAST_COUNT: Final = Said._fields.index("web_searches")
_PLAIN_TYPES: Final[dict[values.Reader, type]] = {values.text: str, values.count: int}
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


class Reading(NamedTuple):
    """What a span says about a billed call.

    `operation` is one of the field table's; `usage` follows the arithmetic of the conventions; `tags` are those on
    the span itself, unchecked.
    """

    operation: str
    said: Said
    usage: Usage
    tags: dict[str, Any]


class _Plan:
    """A dialect in the form that is quick to read."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.is_foreign = dialect.markers.isdisjoint
        self.slot_of: Callable[[str], tuple[int, int, Any, type | None] | None] = {
            key: (slot.position, slot.rank, slot.reader, _PLAIN_TYPES.get(slot.reader))
            for key, slot in dialect.slots.items()
        }.get


_PLANS: Final = tuple(map(_Plan, DIALECTS))


def read(attributes: Mapping[str, Any]) -> Reading | None:
    """The billed call that these attributes are about, or None. The first dialect that recognises them decides."""
    for plan in _PLANS:
        if not plan.is_foreign(attributes):
            return _read(plan, attributes)
    return None


def _read(plan: _Plan, attributes: Mapping[str, Any]) -> Reading | None:
    dialect = plan.dialect
    found, tags = _found(plan, attributes)
    name = found[0]
    if name is not None:
        operation = dialect.operations.get(name)
    else:
        operation = None if dialect.other_markers.isdisjoint(attributes) else dialect.unnamed_operation
    if operation is None:
        return None
    usage = _usage(found, excludes_cache=dialect.input_excludes_cache)
    reading: Reading = _tuple(Reading, (operation, _tuple(Said, found), usage, tags))
    return reading


def _found(plan: _Plan, attributes: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The fields of `Said`, each from the best of its keys that has a value which can be read; and the tags."""
    slot_of = plan.slot_of
    found = _NOTHING.copy()
    ranks: dict[int, int] = {}
    tags: dict[str, Any] = {}
    for key, raw in attributes.items():
        slot = slot_of(key)
        if slot is None:
            if type(key) is str and key.startswith(TAG_PREFIX):
                tags[key[len(TAG_PREFIX) :]] = raw
            continue
        position, rank, reader, plain = slot
        kind = type(raw)
        if kind is plain and (0 <= raw <= MAX_TOKENS if kind is int else 0 < len(raw) <= values.MAX_TEXT):
            value = raw
        else:
            value = reader(raw)
            if value is None:
                continue
        if rank:
            if found[position] is not None and ranks.get(position, 0) < rank:
                continue
            ranks[position] = rank
        elif ranks:
            ranks.pop(position, None)
        found[position] = value
    return found, tags


def _usage(found: list[Any], *, excludes_cache: bool) -> Usage:
    """The counts, with input and output made inclusive where they are known or proven not to be.

    A part larger than its whole proves that the whole leaves it out: the counts of a provider are added up, never cut.
    """
    input_tokens, output_tokens, read, written, hour, reasoning, audio_in, audio_out, searches = found[
        _FIRST_COUNT : _LAST_COUNT + 1
    ]
    if input_tokens is not None and (read or written):
        cached = (read or 0) + (written or 0)
        if excludes_cache or cached > input_tokens:
            input_tokens += cached
    if reasoning and output_tokens is not None and reasoning > output_tokens:
        output_tokens += reasoning
    usage: Usage = _tuple(
        Usage,
        (input_tokens, output_tokens, read, written, hour, reasoning, audio_in, audio_out, searches, None, None),
    )
    return usage
