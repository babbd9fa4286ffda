"""A request's bytes: inflated within bounds, read once to refuse what is no OTLP, and otherwise left as they came."""

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
from opentelemetry.sdk.trace import ReadableSpan

from infraprism.backend.ingest.rejections import TOO_LARGE, UNREADABLE, RefusedError
from infraprism.backend.ingest.statement import EARLIEST_MS
from infraprism.backend.span_conversion.otlp_spans import readable_spans
from infraprism.backend.span_conversion.span_allowlist import sorted_out
from infraprism.schema.wire import SCOPE_NAME

MAX_SPANS: Final = 50_000
"""Of one request."""
_MAX_ATTRIBUTES_PER_SPAN: Final = 64
"""On average over a request; an event has 58 at most. Bounds the memory that a small body can ask for."""
_HOUR_MS: Final = 3_600_000

Ranges = dict[int, tuple[int, int]]
"""By hour since 1970: the earliest and the latest start time in it, in milliseconds."""


class Spans(NamedTuple):
    """A readable request: its protobuf bytes, how many spans it has, and the time ranges they lie in."""

    body: bytes
    number: int
    ranges: Ranges


class Read(NamedTuple):
    """A readable request: its events, its clean spans of other dialects, and how many others were not, by reason."""

    events: Spans
    others: tuple[ReadableSpan, ...] = ()
    faults: Mapping[str, int] = MappingProxyType({})


def inflated(body: bytes, limit: int) -> bytes:
    """What a gzip body holds. Raises RefusedError above `limit` bytes, having inflated no more than that."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise RefusedError(UNREADABLE) from None
    if len(plain) > limit:
        raise RefusedError(TOO_LARGE)
    if not inflater.eof or inflater.unused_data:
        raise RefusedError(UNREADABLE)
    return plain


def read_protobuf(body: bytes) -> Read:
    """Check that the body is an OTLP request. Raises RefusedError."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise RefusedError(UNREADABLE) from None
    return _read(request, body)


def read_json(body: bytes) -> Read:
    """The same for OTLP/JSON, which is stored by way of protobuf. Raises RefusedError."""
    request = ExportTraceServiceRequest()
    try:
        decoded = json.loads(body)
        _hex_to_base64(decoded)
        json_format.ParseDict(decoded, request, ignore_unknown_fields=True)
        return _read(request, request.SerializeToString())
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError):
        raise RefusedError(UNREADABLE) from None


def _read(request: ExportTraceServiceRequest, body: bytes) -> Read:
    spans = _spans(request, body)
    if all(scope.scope.name == SCOPE_NAME for resource in request.resource_spans for scope in resource.scope_spans):
        return Read(spans)
    own, others = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    for whole in request.resource_spans:
        for scope in whole.scope_spans:
            part = (own if scope.scope.name == SCOPE_NAME else others).resource_spans.add(schema_url=whole.schema_url)
            part.resource.CopyFrom(whole.resource)
            part.scope_spans.append(scope)
    clean, faults = sorted_out(others.resource_spans)
    return Read(_spans(own, own.SerializeToString()), tuple(readable_spans(clean)), faults)


def _spans(request: ExportTraceServiceRequest, body: bytes) -> Spans:
    found = [
        (span.start_time_unix_nano // 1_000_000, len(span.attributes))
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    if len(found) > MAX_SPANS or sum(count for _, count in found) > _MAX_ATTRIBUTES_PER_SPAN * max(len(found), 1):
        raise RefusedError(TOO_LARGE)
    return Spans(body, len(found), hours(start_ms for start_ms, _ in found if start_ms >= EARLIEST_MS))


def hours(times_ms: Iterable[int]) -> Ranges:
    """The hours that times lie in, each with its earliest and latest."""
    times = sorted(times_ms)
    if not times:
        return {}
    first, last = times[0] // _HOUR_MS, times[-1] // _HOUR_MS
    if first == last:
        return {first: (times[0], times[-1])}
    ranges: Ranges = {}
    for time_ms in times:
        hour = time_ms // _HOUR_MS
        ranges[hour] = (ranges.get(hour, (time_ms, time_ms))[0], time_ms)
    return ranges


def _hex_to_base64(request: Any) -> None:
    """OTLP/JSON spells ids in hex, where protobuf's own JSON spells bytes in base64."""
    for resource in request.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for identified in (span, *span.get("links", ())):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in identified:
                            identified[key] = base64.b64encode(bytes.fromhex(identified[key])).decode()
