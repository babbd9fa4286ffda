"""What is special about gRPC."""

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

from infraprism.exporter.over_grpc import _retry_after_s

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def protocol() -> str:
    return "grpc"


def _packed(message: RetryInfo | ErrorInfo) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def test_the_time_to_come_back_is_read_from_either_trailer() -> None:
    info = RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000))
    status = Status(details=[_packed(ErrorInfo(reason="QUOTA")), _packed(info)])
    assert _retry_after_s([("google.rpc.retryinfo-bin", info.SerializeToString())]) == 3.5
    assert _retry_after_s([("x", "y"), ("grpc-status-details-bin", status.SerializeToString())]) == 3.5
    assert _retry_after_s([("grpc-status-details-bin", Status().SerializeToString())]) is None
    assert _retry_after_s([]) is None


@given(st.sampled_from(["google.rpc.retryinfo-bin", "grpc-status-details-bin"]), st.binary(max_size=60))
def test_any_trailer_is_a_time_or_nothing(name: str, value: bytes) -> None:
    seconds = _retry_after_s([(name, value)])
    assert seconds is None or isinstance(seconds, float)


def test_a_quota_without_a_time_is_waited_out_and_not_taken_for_a_size(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(status=429), Reply(status=429))
    exporter = make(sink.endpoint)
    exporter.export_events(events(4))
    assert exporter.force_flush(5000)
    assert [len(request.spans()) for request in sink.requests] == [4, 4, 4]


def test_an_answer_too_long_for_otlp_is_not_taken_for_a_request_too_large(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(body=b"\0" * 5_000_000))
    exporter = make(sink.endpoint)
    exporter.export_events(events(1))
    assert exporter.force_flush(10_000)
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 1}
    assert len(sink.requests) == 2


def test_an_endpoint_of_the_other_protocol_takes_nothing(make: Make) -> None:
    with OtlpSink("http/protobuf") as other:
        exporter = make(other.endpoint)
        exporter.export_events(events(2))
        assert not exporter.force_flush(500)
        exporter.shutdown(timeout_millis=300)
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 2}


def test_headers_travel_as_metadata(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, headers={"X-Tenant": "blue"})
    exporter.export_events(events(1))
    assert exporter.force_flush(5000)
    assert sink.requests[0].headers["x-tenant"] == "blue"
    assert set(sink.requests[0].headers) == {"x-tenant", "authorization", "user-agent"}
    assert sink.requests[0].path == "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
