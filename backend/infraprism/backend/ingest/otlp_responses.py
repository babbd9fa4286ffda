"""OTLP responses, for HTTP and gRPC."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # the package has no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from infraprism.backend.ingest.batch_writer import RejectedSpans
from infraprism.backend.ingest.receiver import Encoding
from infraprism.backend.ingest.rejections import Rejection
from infraprism.backend.ingest.statement import REASONS


def success(rejected: RejectedSpans) -> ExportTraceServiceResponse:
    """A success, partial if spans were rejected. The message contains only constants and counts."""
    if not rejected:
        return ExportTraceServiceResponse()
    reasons = "; ".join(f"{rejected[name]} {name} (expected: {REASONS[name]})" for name in sorted(rejected))
    return ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(
            rejected_spans=sum(rejected.values()), error_message=f"spans refused: {reasons}"
        )
    )


def failure(rejection: Rejection) -> Status:
    """The rejection of a request."""
    status = Status(code=rejection.grpc_code, message=rejection.message)
    if rejection.retry_after_s is not None:
        info = RetryInfo()
        info.retry_delay.seconds = rejection.retry_after_s
        status.details.add().Pack(info)
    return status


def serialize(message: Message, encoding: Encoding) -> bytes:
    """The response body in the encoding of the request."""
    if encoding == "json":
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
