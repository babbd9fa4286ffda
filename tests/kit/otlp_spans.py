"""OTLP requests as the SDK's finished spans, so that tests can pass them to the processor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

_CODES: Final = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}
_KINDS: Final = {kind.value + 1: kind for kind in SpanKind}


def readable_spans(*requests: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """Every span of the requests. A span without events gets the exception event of its `exception.type` attribute."""
    for request in requests:
        for group in request.resource_spans:
            resource = Resource(attributes(group.resource.attributes))
            for scoped in group.scope_spans:
                scope = InstrumentationScope(scoped.scope.name, scoped.scope.version)
                for span in scoped.spans:
                    yield _readable_span(span, resource, scope)


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python values; of a duplicate key the first value."""
    found: dict[str, Any] = {}
    for pair in pairs:
        found.setdefault(pair.key, _python_value(pair.value))
    return found


def _python_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_python_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def _readable_span(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    found = attributes(span.attributes)
    events = [SpanEvent(event.name, attributes(event.attributes)) for event in span.events]
    if not events and "exception.type" in found:
        events = [SpanEvent("exception", {"exception.type": found["exception.type"]})]
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_span_id) if span.parent_span_id else None,
        resource=resource,
        attributes=found,
        events=events,
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        status=_status(span),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=False)


def _status(span: Span) -> Status:
    code = _CODES.get(span.status.code, StatusCode.UNSET)
    return Status(code, span.status.message or None) if code is StatusCode.ERROR else Status(code)
