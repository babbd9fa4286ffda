"""The result of one export request, the same for OTLP over HTTP and over gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["success", "retry", "rejected", "too_large"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of one attempt to send one request.

    - `success`: the endpoint accepted the events, except `rejected` of them (OTLP's partial success).
    - `retry`: send the request again, after `retry_after_s` seconds where the endpoint gave a time. `maybe_poison`:
      these events may cause the failure, such as a server error, so that they are not retried without end.
    - `rejected`: the endpoint does not accept these events, and a retry would not change that.
    - `too_large`: the request is larger than the endpoint accepts.

    `reason` is a constant of this package, at most with a status in it, and never a text of the endpoint.
    """

    outcome: Outcome
    reason: str = "ok"
    rejected: int = 0
    retry_after_s: float | None = None
    maybe_poison: bool = False


SUCCESS: Final = ExportResult("success")
TOO_LARGE: Final = ExportResult("too_large", "too_large")
UNREADABLE: Final = ExportResult("retry", "unreadable_response", maybe_poison=True)
"""A successful status whose body is not an OTLP response, such as a login page: the events may be lost."""


def read_success(body: bytes, content_type: str = "application/x-protobuf") -> ExportResult:
    """The result in the body of a successful response: an `ExportTraceServiceResponse`, with its partial success."""
    if not body:
        return SUCCESS
    # Most bodies are empty. Only the others need the generated messages.
    from google.protobuf.json_format import Parse, ParseError  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415

    response = ExportTraceServiceResponse()
    try:
        if content_type.startswith("application/json"):
            Parse(body, response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(body)
    except (DecodeError, ParseError, UnicodeDecodeError):
        return UNREADABLE
    rejected = response.partial_success.rejected_spans
    return ExportResult("success", rejected=rejected) if rejected > 0 else SUCCESS
