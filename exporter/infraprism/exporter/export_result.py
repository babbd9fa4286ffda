"""What became of one request, in words that do not depend on the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["taken", "later", "refused", "too_large"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one attempt to send one request.

    - `taken`: the endpoint has the events, but for `rejected` of them (OTLP's partial success).
    - `later`: try again, not before `retry_after_s` seconds where the endpoint said so. `maybe_poison` marks an answer
      that may come from these very events, so that it is not asked for ever: a fault in the endpoint, say.
    - `refused`: the endpoint does not want these events, and asking again would not change that.
    - `too_large`: the request is bigger than the endpoint takes.

    `reason` is a constant of ours, with at most a status in it; never a text of the endpoint.
    """

    outcome: Outcome
    reason: str = "ok"
    rejected: int = 0
    retry_after_s: float | None = None
    maybe_poison: bool = False


TAKEN: Final = Answer("taken")
TOO_LARGE: Final = Answer("too_large", "too_large")
UNREADABLE: Final = Answer("later", "unreadable_answer", maybe_poison=True)
"""A success that is no OTLP answer: a login page or a proxy's greeting, so the events may have gone nowhere."""


def read_success(body: bytes, content_type: str = "application/x-protobuf") -> Answer:
    """The answer in the body of a success: an `ExportTraceServiceResponse`, whose partial success must be counted."""
    if not body:
        return TAKEN
    # Most answers are empty; only others need the generated messages.
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
    return Answer("taken", rejected=rejected) if rejected > 0 else TAKEN
