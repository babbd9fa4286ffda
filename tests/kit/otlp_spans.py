"""OTLP spans as the SDK's finished spans, so that the processor can be asked what it makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

_CODES = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}


def plain(value: AnyValue) -> Any:
    """An attribute value as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes(found: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python has them; of a key that stands twice the first counts."""
    made: dict[str, Any] = {}
    for pair in found:
        made.setdefault(pair.key, plain(pair.value))
    return made


def readable_spans(*requests: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """Every span of the requests. A cleaned span's exception.type stands for the exception that was recorded."""
    for request in requests:
        for group in request.resource_spans:
            resource = Resource(attributes(group.resource.attributes))
            for scoped in group.scope_spans:
                scope = InstrumentationScope(scoped.scope.name, scoped.scope.version)
                for span in scoped.spans:
                    yield _readable(span, resource, scope)


def _readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    found = attributes(span.attributes)
    events = [SpanEvent(event.name, attributes(event.attributes)) for event in span.events]
    if not events and "exception.type" in found:
        events = [SpanEvent("exception", {"exception.type": found["exception.type"]})]
    return ReadableSpan(
        name=span.name,
        context=SpanContext(int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big"), is_remote=False),
        resource=resource,
        attributes=found,
        events=events,
        kind=SpanKind(span.kind - 1) if span.kind else SpanKind.INTERNAL,
        status=_status(span),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _status(span: Span) -> Status:
    code = _CODES[span.status.code]
    return Status(code, span.status.message or None) if code is StatusCode.ERROR else Status(code)
