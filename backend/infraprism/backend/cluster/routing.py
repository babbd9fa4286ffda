"""Which shard an event belongs to, and the parts of a request by shard."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infraprism.backend.ingest.otlp_requests import EncodedSpans, time_ranges
from infraprism.schema.fields import EARLIEST_TIMESTAMP_MS

_HASHED_BYTES: Final = 2


def shard_of(event_id: bytes, shards: int) -> int:
    """The shard of an event by its id, which is a hash; as `definitions.shard_of`."""
    return int.from_bytes(event_id[:_HASHED_BYTES], "little") % shards


def split(spans: EncodedSpans, shards: int) -> dict[int, EncodedSpans]:
    """The spans of a request by shard. Resources and scopes are repeated, since a span is checked with its own."""
    requests: defaultdict[int, ExportTraceServiceRequest] = defaultdict(ExportTraceServiceRequest)
    starts_ms: defaultdict[int, list[int]] = defaultdict(list)
    for group in ExportTraceServiceRequest.FromString(spans.body).resource_spans:
        groups = {}
        for scoped in group.scope_spans:
            scopes = {}
            for span in scoped.spans:
                shard = shard_of(sha256(span.trace_id + span.span_id).digest(), shards)
                if shard not in groups:
                    groups[shard] = requests[shard].resource_spans.add(schema_url=group.schema_url)
                    groups[shard].resource.CopyFrom(group.resource)
                if shard not in scopes:
                    scopes[shard] = groups[shard].scope_spans.add(schema_url=scoped.schema_url)
                    scopes[shard].scope.CopyFrom(scoped.scope)
                scopes[shard].spans.append(span)
                starts_ms[shard].append(span.start_time_unix_nano // 1_000_000)
    return {
        shard: EncodedSpans(
            request.SerializeToString(),
            len(starts_ms[shard]),
            time_ranges(start_ms for start_ms in starts_ms[shard] if start_ms >= EARLIEST_TIMESTAMP_MS),
        )
        for shard, request in requests.items()
    }


def joined(parts: list[EncodedSpans]) -> EncodedSpans:
    """One request with the spans of several: serialised protobuf messages can be concatenated."""
    if len(parts) == 1:
        return parts[0]
    ranges: dict[int, tuple[int, int]] = {}
    for part in parts:
        for hour, (first, last) in part.ranges.items():
            known = ranges.get(hour, (first, last))
            ranges[hour] = (min(known[0], first), max(known[1], last))
    return EncodedSpans(b"".join(part.body for part in parts), sum(part.number for part in parts), ranges)
