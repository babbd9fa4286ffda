"""Steps that the `refine` functions of several dialects share."""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import POSITION, SpanFields, with_fields
from infraprism.schema.patterns import compiled

_COUNTS: Final = (
    *SpanFields._fields[POSITION["input_tokens"] : POSITION["web_searches"] + 1],
    "total_tokens",
)


def without_counts(fields: SpanFields) -> SpanFields:
    """The fields without any count, for calls with counts that the instrumentation estimated."""
    return with_fields(fields, **dict.fromkeys(_COUNTS))


def names_model(fields: SpanFields, pattern: str) -> bool:
    """Whether the pattern is found in the model of the request or of the response."""
    search = compiled(pattern).search
    return any(name is not None and search(name) is not None for name in (fields.request_model, fields.response_model))
