"""A span of any dialect is the same event, whether it was read in the process or behind the collector."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.trace import ReadableSpan
from tests.collector.conftest import Route
from tests.kit.dialects import CANARY, Case, cases, ended
from tests.kit.otlp_spans import readable_spans

from infraprism.processor import to_event
from infraprism.schema import Event


def _cleaned(route: Route, request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=route.through(request))])


def _differences(case: Case, here: Event, there: Event | None) -> list[str]:
    if there is None:
        return [f"{case}: no event"]
    changed = ((name, one, other) for name, one, other in zip(here._fields, here, there, strict=True) if one != other)
    return [f"{case}: {name} {one!r} {other!r}" for name, one, other in changed]


def test_every_span_of_the_fixtures_is_the_same_event_behind_the_collector(route: Route) -> None:
    spans = {case: ended(case.span) for case in cases()}
    request = encode_spans(list(spans.values()))
    cleaned = _cleaned(route, request)
    assert CANARY.encode() not in cleaned.SerializeToString()
    found = {event.id: event for span in readable_spans(cleaned) if (event := to_event(span)) is not None}
    expected = {case: event for case, span in spans.items() if (event := to_event(span)) is not None}
    assert len(expected) > len(spans) / 2
    differences = [line for case, here in expected.items() for line in _differences(case, here, found.get(here.id))]
    assert not differences, "\n".join(differences)
    assert len(found) == len(expected)


def test_usage_that_is_a_map_is_read_in_the_process_and_behind_the_collector(route: Route) -> None:
    usage = {"prompt_tokens": 111, "completion_tokens": 37, "prompt_tokens_details": {"cached_tokens": 40}, "x": CANARY}
    plain = ended({"name": "call", "scope": "app", "kind": "CLIENT", "duration_ms": 9, "attributes": {}})
    attributes: dict[str, Any] = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o-mini",
        "langfuse.observation.usage_details": usage,
    }
    span = ReadableSpan("call", plain.context, attributes=attributes, start_time=plain.start_time)
    cleaned = _cleaned(route, encode_spans([span]))
    assert CANARY.encode() not in cleaned.SerializeToString()
    (behind,) = map(to_event, readable_spans(cleaned))
    here = to_event(span)
    assert here is not None
    assert behind is not None
    for event in (here, behind):
        assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (111, 37, 40)
