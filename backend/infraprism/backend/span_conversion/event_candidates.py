"""Reads events in an OTLP request as candidates, to recognise cleaned spans that report the same calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infraprism.attribution.scope import NOTHING
from infraprism.deduplication.candidate import SUCCESS, Candidate, Outcome
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import SpanFields
from infraprism.schema import fields
from infraprism.schema.usage import Usage
from infraprism.schema.wire import SCOPE_NAME

UNKNOWN_PARENT: Final = -1
"""An event has no parent on the wire. It is not the root of its trace: a call usually has a parent."""

_MILLISECOND_NS: Final = 1_000_000
_NO_SPAN_FIELDS: Final = SpanFields(**dict.fromkeys(SpanFields._fields))

Key = tuple[int, int]
"""Trace id and span id."""


def event_candidates(body: bytes) -> list[Candidate]:
    """The candidates of the events of a request, in the order of their end. Invalid events have none."""
    request = ExportTraceServiceRequest.FromString(body)
    found = [
        candidate
        for group in request.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
        if (candidate := _candidate(span)) is not None
    ]
    return sorted(found, key=lambda candidate: candidate.end_ns)


def without(body: bytes, excluded: Collection[Key]) -> bytes:
    """The request without these events."""
    request = ExportTraceServiceRequest.FromString(body)
    for group in request.resource_spans:
        for scoped in group.scope_spans:
            kept = [span for span in scoped.spans if _key(span) not in excluded]
            del scoped.spans[:]
            scoped.spans.extend(kept)
    return request.SerializeToString()


def _key(span: Span) -> Key:
    return int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")


def _candidate(span: Span) -> Candidate | None:
    values: dict[str, Any] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        if kind is not None:
            values[pair.key] = getattr(pair.value, kind)
    model, operation = values.get(fields.MODEL.key), values.get(fields.OPERATION.key)
    latency_ms = values.get(fields.LATENCY_MS.key)
    if type(model) is not str or type(latency_ms) is not int or type(operation) is not str:
        return None
    failure = (values.get(field.key) for field in (fields.ERROR_TYPE, fields.ERROR_CODE))
    outcome = SUCCESS if values.get(fields.SUCCESS.key) is not False else Outcome(False, *map(_text, failure))  # noqa: FBT003 - a field
    start_ns = span.start_time_unix_nano
    return Candidate(
        *_key(span),
        UNKNOWN_PARENT,
        SCOPE_NAME,
        start_ns,
        start_ns + latency_ms * _MILLISECOND_NS,
        ParsedSpan(
            operation=operation,
            span_fields=_NO_SPAN_FIELDS._replace(response_model=model),
            usage=Usage(_count(values.get(fields.INPUT_TOKENS.key)), _count(values.get(fields.OUTPUT_TOKENS.key))),
            tags={},
        ),
        outcome,
        NOTHING,
    )


def _text(value: object) -> str | None:
    return value if type(value) is str else None


def _count(value: object) -> int | None:
    return value if type(value) is int else None
