"""Parses OTLP requests: decompression within limits, validation, and separation of events from cleaned spans."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infraprism.backend.ingest.rejections import TOO_LARGE, UNREADABLE, RejectedError
from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan, cleaned_spans
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS
from infraprism.schema.wire import SCOPE_NAME

MAX_SPANS: Final = 50_000
"""Per request."""
_MAX_ATTRIBUTES_PER_SPAN: Final = 64
"""On average over a request; an event has at most 58. Limits the memory that a small body can allocate."""
_HOUR_MS: Final = 3_600_000

TimeRanges = dict[int, tuple[int, int]]
"""By hour since 1970: the earliest and the latest start time in that hour, in milliseconds."""


class EncodedSpans(NamedTuple):
    """An OTLP request as protobuf bytes, the number of its spans, and their time ranges."""

    body: bytes
    number: int
    ranges: TimeRanges


class ParsedRequest(NamedTuple):
    """The events of a request, its cleaned spans of other scopes, and the number of rejected spans by reason."""

    events: EncodedSpans
    cleaned: tuple[CleanedSpan, ...] = ()
    rejected: Mapping[str, int] = MappingProxyType({})


def inflate(body: bytes, limit: int) -> bytes:
    """Decompress a gzip body. Raises RejectedError above `limit` bytes, without decompressing more than that."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise RejectedError(UNREADABLE) from None
    if len(plain) > limit:
        raise RejectedError(TOO_LARGE)
    if not inflater.eof or inflater.unused_data:
        raise RejectedError(UNREADABLE)
    return plain


def parse_protobuf(body: bytes) -> ParsedRequest:
    """Parse an OTLP request in protobuf encoding. Raises RejectedError."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise RejectedError(UNREADABLE) from None
    return _parsed(request, body)


def parse_json(body: bytes) -> ParsedRequest:
    """Parse an OTLP request in JSON encoding. Raises RejectedError."""
    request = ExportTraceServiceRequest()
    try:
        decoded = json.loads(body)
        _convert_ids_to_base64(decoded)
        json_format.ParseDict(decoded, request, ignore_unknown_fields=True)
        return _parsed(request, request.SerializeToString())
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError):
        raise RejectedError(UNREADABLE) from None


def _parsed(request: ExportTraceServiceRequest, body: bytes) -> ParsedRequest:
    spans = _encoded_spans(request, body)
    is_event_scope = [
        scoped.scope.name == SCOPE_NAME for group in request.resource_spans for scoped in group.scope_spans
    ]
    if all(is_event_scope):
        return ParsedRequest(spans)
    events = EncodedSpans(b"", 0, {})
    if any(is_event_scope):
        own = _only_event_scopes(request)
        events = _encoded_spans(own, own.SerializeToString())
    cleaned, rejected = cleaned_spans(request.resource_spans)
    return ParsedRequest(events, tuple(cleaned), rejected)


def _only_event_scopes(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    own = ExportTraceServiceRequest()
    for group in request.resource_spans:
        kept = own.resource_spans.add(schema_url=group.schema_url)
        kept.resource.CopyFrom(group.resource)
        kept.scope_spans.extend(scoped for scoped in group.scope_spans if scoped.scope.name == SCOPE_NAME)
    return own


def _encoded_spans(request: ExportTraceServiceRequest, body: bytes) -> EncodedSpans:
    found = [
        (span.start_time_unix_nano // 1_000_000, len(span.attributes))
        for group in request.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]
    if len(found) > MAX_SPANS or sum(count for _, count in found) > _MAX_ATTRIBUTES_PER_SPAN * max(len(found), 1):
        raise RejectedError(TOO_LARGE)
    ranges = time_ranges(start_ms for start_ms, _ in found if start_ms >= EARLIEST_TIMESTAMP_MS)
    return EncodedSpans(body, len(found), ranges)


def time_ranges(times_ms: Iterable[int]) -> TimeRanges:
    """The ranges of start times, by hour."""
    times = sorted(times_ms)
    if not times:
        return {}
    first, last = times[0] // _HOUR_MS, times[-1] // _HOUR_MS
    if first == last:
        return {first: (times[0], times[-1])}
    ranges: TimeRanges = {}
    for time_ms in times:
        hour = time_ms // _HOUR_MS
        ranges[hour] = (ranges.get(hour, (time_ms, time_ms))[0], time_ms)
    return ranges


def _convert_ids_to_base64(request: Any) -> None:
    """OTLP/JSON encodes ids as hex; protobuf's JSON mapping, which parses the request, expects base64."""
    for group in request.get("resourceSpans", ()):
        for scoped in group.get("scopeSpans", ()):
            for span in scoped.get("spans", ()):
                for identified in (span, *span.get("links", ())):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in identified:
                            identified[key] = base64.b64encode(bytes.fromhex(identified[key])).decode()
