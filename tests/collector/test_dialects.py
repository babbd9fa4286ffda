"""A span of any dialect is the same event, whether it was read in the process or behind the collector."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
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
