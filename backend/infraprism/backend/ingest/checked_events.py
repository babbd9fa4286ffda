"""Checks the events of a small request without the store.

An event is accepted if `Event` holds every value of its span unchanged: then the checks of the store accept it as well.
Anything else, also an unusual encoding, is left to the store, so that a reason has one source.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from infraprism.backend.ingest.otlp_requests import EncodedSpans, time_ranges
from infraprism.schema import Event, wire
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS, FIELDS, MAX_TAGS
from infraprism.schema.otlp_encoder import request_bytes, span_bytes
from infraprism.schema.wire import SCOPE_NAME

MAX_EVENTS: Final = 32
"""Of a request that is checked here."""
MAX_BYTES: Final = 32_768
_MAX_ATTRIBUTES: Final = len(FIELDS) + MAX_TAGS
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_NS_PER_MS: Final = 1_000_000
_is_version: Final = re.compile(r"[0-9A-Za-z.+-]{0,32}").fullmatch
_KINDS: Final = frozenset({"string_value", "bool_value", "int_value"})


class CheckedEvents(NamedTuple):
    """Valid events, encoded anew. `spans` are `ScopeSpans.spans` fields."""

    spans: bytes
    starts_ms: list[int]

    @property
    def as_request(self) -> EncodedSpans:
        """The events as a request."""
        return EncodedSpans(request_bytes([self.spans]), len(self.starts_ms), time_ranges(self.starts_ms))


def inflated(body: bytes) -> bytes | None:
    """A decompressed gzip body, or None if it is not small or not valid."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BYTES)
    except zlib.error:
        return None
    return plain if inflater.eof and not inflater.unused_data else None


def checked_events(
    body: bytes, latest_ms: int, *, usage_detail: bool, earliest_ms: int = EARLIEST_TIMESTAMP_MS
) -> CheckedEvents | None:
    """The events of an OTLP request, or None if the store has to check it.

    Start times from `earliest_ms` to `latest_ms` are accepted. `usage_detail` includes the opt-in fields.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return None
    if request.SerializeToString() != body:
        return None  # for example fields that are repeated: parsers differ in how they merge them
    encoded: list[bytes] = []
    starts_ms: list[int] = []
    for spans in _clean_groups(request):
        if spans is None or len(starts_ms) + len(spans) > MAX_EVENTS:
            return None
        for span in spans:
            start_ms = span.start_time_unix_nano // _NS_PER_MS
            event = _event(span) if earliest_ms <= start_ms <= latest_ms else None
            if event is None:
                return None
            encoded.append(span_bytes(event, usage_detail=usage_detail))
            starts_ms.append(start_ms)
    return CheckedEvents(b"".join(encoded), starts_ms) if starts_ms else None


def _clean_groups(request: ExportTraceServiceRequest) -> Iterator[list[Span] | None]:
    """The spans of each scope, or None for a scope that needs another check."""
    if len(request.resource_spans) > MAX_EVENTS:
        yield None
    for group in request.resource_spans[:MAX_EVENTS]:
        is_bare = not group.schema_url and not group.resource.attributes
        scopes = group.scope_spans[: MAX_EVENTS + 1]
        for scoped in scopes:
            is_clean = is_bare and len(scopes) <= MAX_EVENTS and _is_event_scope(scoped)
            yield scoped.spans[: MAX_EVENTS + 1] if is_clean else None


def _is_event_scope(scoped: ScopeSpans) -> bool:
    scope = scoped.scope
    return (
        scope.name == SCOPE_NAME
        and not scope.attributes
        and not scoped.schema_url
        and _is_version(scope.version) is not None
    )


def _event(span: Span) -> Event | None:
    """The event of a span that is exactly an event."""
    trace_id, span_id, attributes = span.trace_id, span.span_id, span.attributes
    if len(trace_id) != _TRACE_ID_BYTES or len(span_id) != _SPAN_ID_BYTES or len(attributes) > _MAX_ATTRIBUTES:
        return None
    if not any(trace_id) or not any(span_id) or span.trace_state or span.status.message or span.events or span.links:
        return None
    found: dict[str, object] = {}
    for pair in attributes:
        value = pair.value
        kind = value.WhichOneof("value")
        found[pair.key] = getattr(value, kind) if kind in _KINDS else None
    event = wire.read(int.from_bytes(trace_id), int.from_bytes(span_id), span.start_time_unix_nano, found)
    if event is None or span.name != event.name or len(found) != len(attributes):
        return None
    again = wire.attributes(event, usage_detail=True)
    # The types as well: False equals 0.
    is_same = found == again and all(type(found[key]) is type(value) for key, value in again.items())
    return event if is_same else None
