"""The requests of benchmarks/ingest.py."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import CALL, LANGCHAIN, LLM, SEMCONV, cleaned_span, nested_span, request, span
from tests.kit.events import event
from tests.kit.otlp_canaries import export_request

_COPY = b"COPY-0000"
"""The start of the trace ids of a request. The other seven bytes are random."""


def renewed(body: bytes) -> bytes:
    """The same request with other trace ids: its spans are new events."""
    return body.replace(_COPY, os.urandom(len(_COPY)))


def event_requests(requests: int, events: int) -> list[bytes]:
    """Requests of events of the last minutes, all with different ids."""
    return [
        request(_event_span(place, number, events) for number in range(events)).SerializeToString()
        for place in range(requests)
    ]


def _event_span(place: int, number: int, events: int) -> Span:
    made = span(
        event(
            timestamp_ns=time.time_ns() - (place * events + number) * 1_000_000,
            input_tokens=1000 + number % 700,
            entity_id=f"customer-{number % 500}",
            session_id=f"session-{(place * 7 + number) % 1000}",
            tags={"feature": "chatbot"},
        )
    )
    made.trace_id, made.span_id = _COPY + os.urandom(7), os.urandom(8)
    return made


def third_party_requests(requests: int, spans: int) -> list[bytes]:
    """Requests of cleaned spans: of three spans two are calls, and one is the parent span of the second call."""
    now_ns = time.time_ns()
    return [_third_party_request(now_ns - place * spans * 2_000_000, spans) for place in range(requests)]


def _third_party_request(end_ns: int, spans: int) -> bytes:
    calls, parents = [], []
    for number in range(spans // 3):
        start_ns = end_ns - number * 6_000_000
        tokens = 1000 + number % 700
        attributes = {
            **CALL,
            "gen_ai.usage.input_tokens": tokens,
            "server.address": "openai.com",
            "infraprism.entity_type": "customer",
            "infraprism.entity_id": f"customer-{number % 500}",
            "infraprism.tags.feature": "chatbot",
        }
        lone = cleaned_span(attributes)
        parent = cleaned_span({**LLM, "llm.token_count.prompt": tokens})
        for made, offset_ns in ((lone, 0), (parent, 3_000_000)):
            made.trace_id, made.span_id = _COPY + os.urandom(7), os.urandom(8)
            made.start_time_unix_nano = start_ns - offset_ns
            made.end_time_unix_nano = start_ns - offset_ns + 900_000_000 + number * 1000
        child = nested_span(parent, attributes)
        child.span_id = os.urandom(8)
        calls += [lone, child]
        parents.append(parent)
    merged = export_request(calls, SEMCONV)
    merged.MergeFrom(export_request(parents, LANGCHAIN))
    return merged.SerializeToString()
