"""OTLP requests as the SDK's finished spans, so that the processor can be asked what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

from infraprism.backend.span_conversion import otlp_spans
from infraprism.backend.span_conversion.otlp_spans import attributes

__all__ = ["attributes", "readable_spans"]


def readable_spans(*requests: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """Every span of the requests, as the backend reads it."""
    for request in requests:
        yield from otlp_spans.readable_spans(request.resource_spans)
