"""Behaviour that is specific to OTLP over gRPC."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.conftest import Make
from tests.kit.events import events
from tests.kit.otlp_sink import OtlpSink, Reply

from infraprism.exporter.over_grpc import retry_after_s

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def protocol() -> str:
    return "grpc"


def _packed(message: RetryInfo | ErrorInfo) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def test_the_retry_delay_is_read_from_either_trailer() -> None:
    info = RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000))
    status = Status(details=[_packed(ErrorInfo(reason="QUOTA")), _packed(info)])
    assert retry_after_s([("google.rpc.retryinfo-bin", info.SerializeToString())]) == 3.5
    assert retry_after_s([("x", "y"), ("grpc-status-details-bin", status.SerializeToString())]) == 3.5
    assert retry_after_s([("grpc-status-details-bin", Status().SerializeToString())]) is None
    assert retry_after_s([]) is None


@given(st.sampled_from(["google.rpc.retryinfo-bin", "grpc-status-details-bin"]), st.binary(max_size=60))
def test_any_trailer_is_parsed_to_seconds_or_none(name: str, value: bytes) -> None:
    seconds = retry_after_s([(name, value)])
    assert seconds is None or isinstance(seconds, float)


def test_an_exhausted_quota_is_retried_and_not_classified_as_too_large(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(status=429), Reply(status=429))
    exporter = make(sink.endpoint)
    exporter.export_events(events(4))
    assert exporter.force_flush(5000)
    assert [len(request.spans()) for request in sink.requests] == [4, 4, 4]


def test_a_response_that_is_too_large_is_not_classified_as_a_request_that_is_too_large(
    sink: OtlpSink, make: Make
) -> None:
    sink.answer_with(Reply(body=b"\0" * 5_000_000))
    exporter = make(sink.endpoint)
    exporter.export_events(events(1))
    assert exporter.force_flush(10_000)
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 1}
    assert len(sink.requests) == 2


def test_an_endpoint_of_the_other_protocol_accepts_no_events(make: Make) -> None:
    with OtlpSink("http/protobuf") as other:
        exporter = make(other.endpoint)
        exporter.export_events(events(2))
        assert not exporter.force_flush(500)
        exporter.shutdown(timeout_millis=300)
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 2}


def test_headers_are_sent_as_metadata(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, headers={"X-Tenant": "blue"})
    exporter.export_events(events(1))
    assert exporter.force_flush(5000)
    assert sink.requests[0].headers["x-tenant"] == "blue"
    assert set(sink.requests[0].headers) == {"x-tenant", "authorization", "user-agent"}
    assert sink.requests[0].path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
