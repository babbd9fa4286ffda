"""OTLP's answers, for both protocols."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # the package has no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from infraprism.backend.ingest.batch_writer import Rejected
from infraprism.backend.ingest.receiver import Encoding
from infraprism.backend.ingest.rejections import Reason
from infraprism.backend.ingest.statement import REASONS


def success(rejected: Rejected) -> ExportTraceServiceResponse:
    """A success, partial where spans were refused. Its text is made of our own reasons and numbers only."""
    if not rejected:
        return ExportTraceServiceResponse()
    reasons = "; ".join(f"{rejected[name]} {name} (expected: {REASONS[name]})" for name in sorted(rejected))
    return ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(
            rejected_spans=sum(rejected.values()), error_message=f"spans refused: {reasons}"
        )
    )


def failure(reason: Reason) -> Status:
    """A refusal of the whole request."""
    status = Status(code=reason.grpc_code, message=reason.message)
    if reason.retry_after_s is not None:
        info = RetryInfo()
        info.retry_delay.seconds = reason.retry_after_s
        status.details.add().Pack(info)
    return status


def encoded(message: Message, encoding: Encoding) -> bytes:
    """The answer's bytes in the encoding of its request."""
    if encoding == "json":
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
