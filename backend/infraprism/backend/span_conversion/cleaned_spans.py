"""Validates the cleaned spans of an OTLP request and converts them to the span interface that the processor reads.

Most attributes repeat from span to span (models, providers, customers), and so do many counts. Therefore the result of
validating an encoded attribute is cached, within bounds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.trace import Status, StatusCode

from infraprism.backend.span_conversion import span_allowlist
from infraprism.dialects.guards import EXCEPTION_TYPE
from infraprism.schema import fields
from infraprism.schema.wire import SCOPE_NAME

_MAX_CACHED: Final = 16_384
_MAX_CACHED_BYTES: Final = 256
"""Per attribute. Longer ones are not cached."""
_STATUS_CODES: Final = {1: StatusCode.OK, 2: StatusCode.ERROR}

Scalar = str | bool | int | float


class SpanIds(NamedTuple):
    """The ids of a span context."""

    trace_id: int
    span_id: int


class ScopeName(NamedTuple):
    """An instrumentation scope that has only a name."""

    name: str


class CleanedSpan(NamedTuple):
    """A validated span, with the attributes of the SDK's ReadableSpan that the processor reads. Times in nanoseconds.

    A ReadableSpan is not used because its constructor takes more time than the conversion to an event.
    """

    name: str
    context: SpanIds
    parent: SpanIds | None
    attributes: dict[str, Scalar]
    events: tuple[SpanEvent, ...]
    status: Status
    start_time: int
    end_time: int
    instrumentation_scope: ScopeName
    resource: None = None


class _Attribute(NamedTuple):
    """A validated attribute. `fault` is the reason for rejecting its span, or empty."""

    key: str
    value: Scalar
    fault: str


_cache: Final[dict[bytes, _Attribute]] = {}


def cleaned_spans(groups: Iterable[ResourceSpans]) -> tuple[list[CleanedSpan], Counter[str]]:
    """The cleaned spans of all scopes except our own, and the number of rejected spans by reason."""
    latest_ms = time.time_ns() // 1_000_000 + fields.MAX_CLOCK_SKEW_MS
    rejected: Counter[str] = Counter()
    spans: list[CleanedSpan] = []
    for group in groups:
        is_clean_resource = span_allowlist.is_clean_resource(group)
        for scoped in group.scope_spans:
            if scoped.scope.name == SCOPE_NAME:
                continue
            if not is_clean_resource or not span_allowlist.is_clean_scope(scoped):
                rejected["not_clean"] += len(scoped.spans)
                continue
            scope = ScopeName(scoped.scope.name)
            for span in scoped.spans:
                found = _converted(span, scope, latest_ms)
                if isinstance(found, CleanedSpan):
                    spans.append(found)
                else:
                    rejected[found] += 1
    return spans, +rejected


def _converted(span: Span, scope: ScopeName, latest_ms: int) -> CleanedSpan | str:
    """The cleaned span, or the reason for rejecting it."""
    if fault := span_allowlist.fault_of_span(span, latest_ms):
        return fault
    pairs = [_attribute(pair) for pair in span.attributes]
    attributes = {pair.key: pair.value for pair in pairs}
    may_be_rejected = len(attributes) < len(pairs) or len(pairs) > fields.MAX_TAGS or any(pair.fault for pair in pairs)
    if may_be_rejected and (fault := _first_fault(pairs)):
        return fault
    trace_id, parent_id = int.from_bytes(span.trace_id, "big"), span.parent_span_id
    exception = attributes.get(EXCEPTION_TYPE)
    return CleanedSpan(
        span.name,
        SpanIds(trace_id, int.from_bytes(span.span_id, "big")),
        SpanIds(trace_id, int.from_bytes(parent_id, "big")) if parent_id else None,
        attributes,
        () if exception is None else (SpanEvent("exception", {EXCEPTION_TYPE: exception}),),
        _status(span.status.code, span.status.message),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        scope,
    )


def _attribute(pair: KeyValue) -> _Attribute:
    encoded = pair.SerializeToString()
    found = _cache.get(encoded)
    if found is None:
        kind = pair.value.WhichOneof("value")
        found = _Attribute(pair.key, getattr(pair.value, kind) if kind else "", span_allowlist.fault_of_attribute(pair))
        if not found.fault and len(encoded) <= _MAX_CACHED_BYTES:
            if len(_cache) >= _MAX_CACHED:
                _cache.clear()
            _cache[encoded] = found
    return found


def _first_fault(pairs: Sequence[_Attribute]) -> str:
    keys = [pair.key for pair in pairs]
    faults = [pair.fault for pair in pairs if pair.fault]
    if sum(key.startswith(fields.TAG_PREFIX) for key in keys) > fields.MAX_TAGS:
        return "too_many_tags"
    if "unknown_key" in faults:
        return "unknown_key"
    if len(set(keys)) < len(keys):
        return "duplicate_key"
    return faults[0] if faults else ""


@lru_cache(maxsize=256)
def _status(code: int, message: str) -> Status:
    status_code = _STATUS_CODES.get(code, StatusCode.UNSET)
    return Status(status_code, message or None) if status_code is StatusCode.ERROR else Status(status_code)
