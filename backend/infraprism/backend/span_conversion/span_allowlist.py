"""The allow-list of cleaned spans: what a span of another scope may contain after our collector configuration.

Only the event that is made of a cleaned span is stored. A span with anything else than the allowed metadata is rejected
nevertheless, so that an application that sends its full spans here by mistake gets an error.
"""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from infraprism.dialects.guards import GUARDS, IDENTIFIER
from infraprism.providers import error_messages
from infraprism.schema import fields

SPAN_NAME: Final = "llm_call"
_STATUS_MESSAGE: Final = re.compile(error_messages.REDUCED_MESSAGE)
_SCOPE: Final = re.compile(r"[A-Za-z0-9@._/-]{0,128}")
_SCALARS: Final = frozenset({"string_value", "bool_value", "int_value", "double_value"})
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NS_PER_MS: Final = 1_000_000


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
    if key.startswith(fields.TAG_PREFIX):
        if kind != "string_value":
            return "wrong_type"
        is_key = fields.TAG_KEY.fullmatch(key.removeprefix(fields.TAG_PREFIX))
        return "" if is_key and IDENTIFIER.accepts(pair.value.string_value) else "bad_value"
    guard = GUARDS.get(key)
    if guard is None:
        return "unknown_key"
    if kind not in _SCALARS:
        return "wrong_type"
    return "" if guard.accepts(getattr(pair.value, kind)) else "bad_value"
