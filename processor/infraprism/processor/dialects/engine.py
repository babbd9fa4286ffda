"""Reads a span's attributes by the tables: one pass, and only keys of a table are ever looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from infraprism.processor.dialects import DIALECTS
from infraprism.processor.dialects.table import Dialect
from infraprism.processor.usage import Usage
from infraprism.schema.fields import PREFIX, TAG_PREFIX

MARKERS: Final = frozenset().union(*(dialect.markers for dialect in DIALECTS))
"""A span that has none of these keys is no LLM call of any dialect."""


class Reading(NamedTuple):
    """What a span says about a billed call.

    `operation` is one of the field table's; `found` holds the fields of `table.FIELDS` that are there, each in its
    reader's type; `usage` follows the arithmetic of the conventions; `tags` are those on the span itself.
    """

    operation: str
    found: dict[str, Any]
    usage: Usage
    tags: dict[str, Any]


def read(attributes: Mapping[str, object]) -> Reading | None:
    """The billed call that these attributes are about, or None."""
    for dialect in DIALECTS:
        if not dialect.markers.isdisjoint(attributes):
            return _read(dialect, attributes)
    return None


def _read(dialect: Dialect, attributes: Mapping[str, object]) -> Reading | None:
    found, tags = _found(dialect, attributes)
    name = found.get("operation")
    if name is not None:
        operation = dialect.operations.get(name)
    else:
        operation = None if dialect.other_markers.isdisjoint(attributes) else dialect.unnamed_operation
    if operation is None:
        return None
    return Reading(operation, found, _usage(found, excludes_cache=dialect.input_excludes_cache), tags)


def _found(dialect: Dialect, attributes: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
    slots = dialect.slots
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    tags: dict[str, Any] = {}
    for key, raw in attributes.items():
        slot = slots.get(key)
        if slot is None:
            if type(key) is str and key.startswith(PREFIX) and key.startswith(TAG_PREFIX):
                tags[key[len(TAG_PREFIX) :]] = raw
            continue
        field, rank, reader = slot
        value = reader(raw)
        if value is None or (field in ranks and ranks[field] < rank):
            continue
        found[field] = value
        ranks[field] = rank
    return found, tags


def _usage(found: dict[str, Any], *, excludes_cache: bool) -> Usage:
    """The counts, with input and output made inclusive where they are known or proven not to be.

    A part larger than its whole proves that the whole leaves it out: the counts of a provider are added up, never cut.
    """
    get = found.get
    input_tokens, output_tokens = get("input_tokens"), get("output_tokens")
    read, written, reasoning = get("cache_read_tokens"), get("cache_write_tokens"), get("reasoning_tokens")
    if input_tokens is not None and (read or written):
        cached = (read or 0) + (written or 0)
        if excludes_cache or cached > input_tokens:
            input_tokens += cached
    if output_tokens is not None and reasoning and reasoning > output_tokens:
        output_tokens += reasoning
    return Usage(
        input_tokens,
        output_tokens,
        read,
        written,
        get("cache_write_1h_tokens"),
        reasoning,
        get("audio_input_tokens"),
        get("audio_output_tokens"),
        get("web_searches"),
    )
