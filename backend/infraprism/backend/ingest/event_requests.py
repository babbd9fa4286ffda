"""Encodes events as the OTLP request that the exporter sends, for the statement that stores such requests."""

from __future__ import annotations

from collections.abc import Sequence

from infraprism.backend.ingest.otlp_requests import EncodedSpans, time_ranges
from infraprism.schema import Event
from infraprism.schema.otlp_encoder import request_bytes, span_bytes


def encode_events(events: Sequence[Event], usage_detail: bool) -> EncodedSpans:  # noqa: FBT001  # run_in_executor passes positional arguments only
    """One request with these events. `usage_detail` includes the opt-in fields."""
    body = request_bytes([span_bytes(event, usage_detail=usage_detail) for event in events])
    return EncodedSpans(body, len(events), time_ranges(event.timestamp_ns // 1_000_000 for event in events))
