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

from infraprism.backend.ingest import wire_format
from infraprism.backend.ingest.rejections import TOO_LARGE, UNREADABLE, RejectedError
from infraprism.backend.span_conversion.cleaned_spans import CleanedSpan, cleaned_spans
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS
from infraprism.schema.wire import SCOPE_NAME

MAX_JSON_BYTES: Final = 4 * 2**20
"""Of a request in JSON encoding, which takes ten times as long to parse as protobuf."""
_BYTES_PER_BRACKET: Final = 16
_FREE_BRACKETS: Final = 10_000
"""Objects and arrays of a JSON request: these, and one per 16 bytes. An event has one per 50 bytes."""
_MAX_RATIO: Final = 100
_FREE_INFLATED_BYTES: Final = 2**20
"""A gzip body may inflate to this size, or to 100 times its size. Events compress to a twentieth."""
_HOUR_MS: Final = 3_600_000
_EVENT_SCOPES: Final = frozenset({SCOPE_NAME.encode()})

TimeRanges = dict[int, tuple[int, int]]
"""By hour since 1970: the earliest and the latest start time in that hour, in milliseconds."""


class EncodedSpans(NamedTuple):
    """An OTLP request as protobuf bytes, the number of its spans, and their time ranges."""

    body: bytes
    number: int
    ranges: TimeRanges


class ParsedRequest(NamedTuple):
    """The events of a request, its cleaned spans of other scopes, and the number of rejected spans by reason.

    `latest_ms` is the latest start time of all spans, in milliseconds since 1970.
    """

    events: EncodedSpans
    cleaned: tuple[CleanedSpan, ...] = ()
    rejected: Mapping[str, int] = MappingProxyType({})
    latest_ms: int = 0


def inflate(body: bytes, limit: int) -> bytes:
    """Decompress a gzip body. Raises RejectedError above `limit` bytes, without decompressing more than that."""
    limit = min(limit, max(_FREE_INFLATED_BYTES, _MAX_RATIO * len(body)))
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
        found = wire_format.outline(body)
        latest_ms = max(found.starts_ns, default=0) // 1_000_000
        if found.scopes <= _EVENT_SCOPES:
            return ParsedRequest(_encoded_spans(body, found), latest_ms=latest_ms)
        wire_format.limit_nesting(body)
        return _separated(ExportTraceServiceRequest.FromString(body))._replace(latest_ms=latest_ms)
    except (DecodeError, wire_format.MalformedError):
        raise RejectedError(UNREADABLE) from None
    except wire_format.TooManyError:
        raise RejectedError(TOO_LARGE) from None


def parse_json(body: bytes) -> ParsedRequest:
    """Parse an OTLP request in JSON encoding. Raises RejectedError."""
    if not body.lstrip().startswith(b"{"):
        raise RejectedError(UNREADABLE)
    brackets = body.count(b"{") + body.count(b"[")
    if len(body) > MAX_JSON_BYTES or brackets > _FREE_BRACKETS + len(body) // _BYTES_PER_BRACKET:
        raise RejectedError(TOO_LARGE)
    request = ExportTraceServiceRequest()
    try:
        decoded = json.loads(body)
        _convert_ids_to_base64(decoded)
        json_format.ParseDict(decoded, request, ignore_unknown_fields=True)
        encoded = request.SerializeToString()
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError):
        raise RejectedError(UNREADABLE) from None
    return parse_protobuf(encoded)


def normalized(events: EncodedSpans) -> EncodedSpans | None:
    """The same request, encoded anew and without unknown fields. None if it is not an OTLP request.

    The engine rejects some encodings that protobuf parsers skip, such as a known field of another wire type.
    """
    try:
        wire_format.limit_nesting(events.body)
        request = ExportTraceServiceRequest.FromString(events.body)
    except (DecodeError, wire_format.MalformedError, wire_format.TooManyError):
        return None
    request.DiscardUnknownFields()
    return events._replace(body=request.SerializeToString())


def _separated(request: ExportTraceServiceRequest) -> ParsedRequest:
    """The events and the cleaned spans of a request."""
    own = ExportTraceServiceRequest()
    for group in request.resource_spans:
        kept = own.resource_spans.add(schema_url=group.schema_url)
        kept.resource.CopyFrom(group.resource)
        kept.scope_spans.extend(scoped for scoped in group.scope_spans if scoped.scope.name == SCOPE_NAME)
    body = own.SerializeToString()
    cleaned, rejected = cleaned_spans(request.resource_spans)
    return ParsedRequest(_encoded_spans(body, wire_format.outline(body)), tuple(cleaned), rejected)


def _encoded_spans(body: bytes, found: wire_format.Outline) -> EncodedSpans:
    starts_ms = (start_ns // 1_000_000 for start_ns in found.starts_ns)
    ranges = time_ranges(start_ms for start_ms in starts_ms if start_ms >= EARLIEST_TIMESTAMP_MS)
    return EncodedSpans(body, found.number, ranges)


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
