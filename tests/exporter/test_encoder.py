"""The encoder returns the same bytes as the generated protobuf messages."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from tests.kit.any_event import any_event
from tests.kit.events import event

from infraprism.exporter.encoder import request_bytes, span_bytes
from infraprism.processor import event_span
from infraprism.schema import Event
from infraprism.schema.distribution import version
from infraprism.schema.wire import Attribute, attributes


def _value(value: Attribute) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)


def _span(found: Event, *, usage_detail: bool) -> Span:
    return Span(
        trace_id=found.trace_id.to_bytes(16, "big"),
        span_id=found.span_id.to_bytes(8, "big"),
        name=found.name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=found.timestamp_ns,
        end_time_unix_nano=found.timestamp_ns + found.latency_ms * 1_000_000,
        attributes=[
            KeyValue(key=key, value=_value(value))
            for key, value in attributes(found, usage_detail=usage_detail).items()
        ],
        status=None if found.success else Status(code=Status.STATUS_CODE_ERROR),
    )


def _request(found: Sequence[Event], *, usage_detail: bool) -> ExportTraceServiceRequest:
    scope_spans = ScopeSpans(
        scope=InstrumentationScope(name="infraprism", version=version()),
        spans=[_span(one, usage_detail=usage_detail) for one in found],
    )
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=Resource(), scope_spans=[scope_spans])])


@given(st.lists(any_event(), max_size=3), st.booleans())
def test_the_bytes_equal_those_of_the_generated_messages(found: list[Event], usage_detail: bool) -> None:
    encoded = request_bytes([span_bytes(one, usage_detail=usage_detail) for one in found])
    expected = _request(found, usage_detail=usage_detail)
    assert ExportTraceServiceRequest.FromString(encoded) == expected
    # The generated code omits a time of 0. Writing it is equivalent.
    if all(one.timestamp_ns for one in found):
        assert encoded == expected.SerializeToString()


@given(any_event())
def test_the_stock_encoder_returns_the_same_span_for_an_event_span(found: Event) -> None:
    [resource_spans] = encode_spans([event_span(found)]).resource_spans
    [stock] = resource_spans.scope_spans[0].spans
    stock.ClearField("flags")
    stock.ClearField("status")
    [ours] = ScopeSpans.FromString(span_bytes(found)).spans
    assert ours.status.message == ""
    ours.ClearField("status")
    assert ours == stock


def test_the_caches_of_the_encoder_do_not_change_its_result() -> None:
    first = span_bytes(event(1))
    for number in range(3000):
        span_bytes(event(number, model=f"model-{number}", entity_id=f"customer-{number}", tags={"n": str(number)}))
    assert span_bytes(event(1)) == first


def test_the_opt_in_fields_are_encoded_only_with_usage_detail() -> None:
    found = event(cache_read_tokens=77_777, service_tier="flex", streamed=True)
    assert b"infraprism.usage." not in span_bytes(found)
    [span] = ScopeSpans.FromString(span_bytes(found, usage_detail=True)).spans
    detail = {pair.key for pair in span.attributes if pair.key.startswith("infraprism.usage.")}
    assert detail == {
        "infraprism.usage.cache_read_tokens",
        "infraprism.usage.service_tier",
        "infraprism.usage.streamed",
    }
