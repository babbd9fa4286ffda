"""Events as the requests that our own exporters send, for the one statement that stores them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from infraprism.backend.ingest.otlp_requests import Spans, hours
from infraprism.processor.event_span import event_span
from infraprism.schema import Event


def encoded(events: Sequence[Event], usage_detail: bool) -> Spans:  # noqa: FBT001  # run on a thread, which takes arguments by place
    """One request with these events; without `usage_detail` what they were priced by is left out."""
    request = encode_spans([event_span(event, usage_detail=usage_detail) for event in events])
    times_ms = (event.timestamp_ns // 1_000_000 for event in events)
    return Spans(request.SerializeToString(), len(events), hours(times_ms))
