"""The allow-list of cleaned spans: what a span of another scope may contain after our collector configuration.

Only the event that is made of a cleaned span is stored. A span with anything else than the allowed metadata is rejected
nevertheless, so that an application that sends its full spans here by mistake gets an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from infraprism.dialects import DIALECTS, values
from infraprism.dialects.table import READERS, As, Dialect, Entry, key_of
from infraprism.providers import error_messages
from infraprism.schema import fields
from infraprism.schema.patterns import compiled

SPAN_NAME: Final = "llm_call"
EXCEPTION_TYPE: Final = "exception.type"
"""The attribute with the class of the exception that the span recorded as an event."""
_EXCLUDED_FIELDS: Final = frozenset({"session_on_span"})
"""Fields with free text. Their keys are not allowed on a cleaned span."""

_WORD: Final = "[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}"
_FINGERPRINT: Final = "[0-9a-f]{64}"
_AMOUNT: Final = "[0-9][0-9.eE+-]{0,40}"
_STATUS_MESSAGE: Final = re.compile(error_messages.REDUCED_MESSAGE)
_SCOPE: Final = re.compile(r"[A-Za-z0-9@._/-]{0,128}")
_NUMERIC_READERS: Final = frozenset({values.count, values.flag, values.failure, values.seconds, values.milliseconds})
_SCALARS: Final = frozenset({"bool_value", "int_value", "double_value"})
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NS_PER_MS: Final = 1_000_000

Guard = re.Pattern[str] | None
"""The pattern that a string value must match; None if the key allows only numbers and booleans."""


def _guards() -> dict[str, Guard]:
    """One guard per allowed key, derived from the dialect tables and the field table. Tag keys are not included."""
    sources: dict[str, set[str]] = {EXCEPTION_TYPE: {_WORD}}
    for dialect in DIALECTS:
        for field, entries in dialect.keys.items():
            for entry in entries if field not in _EXCLUDED_FIELDS else ():
                sources.setdefault(key_of(entry), set()).update(_patterns(dialect, field, entry))
        for key in dialect.marker_keys():
            sources.setdefault(key, set())
    guards: dict[str, Guard] = {
        key: compiled("|".join(f"(?:{source})" for source in sorted(found))) if found else None
        for key, found in sources.items()
    }
    for of in (fields.ENTITY_TYPE, fields.ENTITY_ID, fields.SESSION_ID):
        guards[of.key] = of.regex
    return guards


def _patterns(dialect: Dialect, field: str, entry: Entry) -> Iterator[str]:
    reader = entry.reader if isinstance(entry, As) else READERS[field]
    if isinstance(reader, values.Words):
        yield "|".join(re.escape(word) for word, _ in reader.means)
    elif field == "response_id":
        yield _FINGERPRINT
    elif reader is values.money:
        yield _AMOUNT
    elif reader not in _NUMERIC_READERS:
        yield _WORD
        if field == "operation":
            yield "|".join(map(re.escape, dialect.operations))


GUARDS: Final[Mapping[str, Guard]] = _guards()
"""Every key that is allowed on a cleaned span, except tags."""


def is_clean_resource(group: ResourceSpans) -> bool:
    """Whether a resource is empty."""
    return not group.resource.attributes and not group.schema_url


def is_clean_scope(scoped: ScopeSpans) -> bool:
    """Whether an instrumentation scope has only a name."""
    scope = scoped.scope
    is_bare = not scope.version and not scope.attributes and not scoped.schema_url
    return is_bare and _SCOPE.fullmatch(scope.name) is not None


def fault_of_span(span: Span, latest_ms: int) -> str:
    """The first reason for rejecting a span by its fields other than attributes; empty if there is none.

    The reasons are those of `infraprism.backend.ingest.statement.REASONS`. `latest_ms` is the latest start time.
    """
    trace_id, span_id = span.trace_id, span.span_id
    if len(trace_id) != _TRACE_ID_BYTES or len(span_id) != _SPAN_ID_BYTES or not any(trace_id) or not any(span_id):
        return "bad_ids"
    if not fields.EARLIEST_TIMESTAMP_MS <= span.start_time_unix_nano // _NS_PER_MS <= latest_ms:
        return "bad_time"
    has_more = span.name != SPAN_NAME or span.events or span.links or span.trace_state
    return "not_clean" if has_more or not _STATUS_MESSAGE.fullmatch(span.status.message) else ""


def fault_of_attribute(pair: KeyValue) -> str:
    """The reason for rejecting a span by one of its attributes; empty if there is none."""
    key, kind = pair.key, pair.value.WhichOneof("value")
    is_tag = key.startswith(fields.TAG_PREFIX)
    if not is_tag and key not in GUARDS:
        return "unknown_key"
    if not is_tag and kind in _SCALARS:
        return ""
    if kind != "string_value":
        return "wrong_type"
    text = pair.value.string_value
    if is_tag:
        is_key = fields.TAG_KEY.fullmatch(key.removeprefix(fields.TAG_PREFIX))
        return "" if is_key and fields.TAGS.regex.fullmatch(text) else "bad_value"
    guard = GUARDS[key]
    return "" if guard is not None and guard.fullmatch(text) else "bad_value"
