"""The reasons for rejecting a request, as HTTP and gRPC status. The messages are constants without sent values."""

from __future__ import annotations

from typing import Final, NamedTuple


class Rejection(NamedTuple):
    """A rejection as an HTTP status, a gRPC code (google.rpc.Code) and a message.

    If `retry_after_s` is set, the sender may retry the same request after that time.
    """

    http_status: int
    grpc_code: int
    message: str
    retry_after_s: int | None = None


class RejectedError(Exception):
    """The request is rejected: none of its spans are acknowledged. A retry of a partly stored request counts once."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


def wrong_region(message: str) -> Rejection:
    """The account is served in another region. `message` has the URL, and no sent value.

    Not 421, as the REST API responds: an exporter of OTLP drops the events of a response that is not retryable, and
    only 429, 502, 503 and 504 are. With 503 it keeps and retries them, and they reach the right server when its
    endpoint is corrected.
    """
    return Rejection(503, 14, message, 60)


UNAUTHENTICATED: Final = Rejection(
    401, 16, "no valid key: send the key of your account as `authorization: Bearer ip-...` (INFRAPRISM_API_KEY)"
)
NO_SCOPE: Final = Rejection(403, 7, "the key lacks the scope ingest: use one that has it (INFRAPRISM_API_KEY)")
UNREADABLE: Final = Rejection(400, 3, "the body is not an OTLP ExportTraceServiceRequest in the declared encoding")
WRONG_TYPE: Final = Rejection(415, 3, "send content-type application/x-protobuf or application/json")
WRONG_ENCODING: Final = Rejection(415, 3, "send content-encoding gzip, or none")
TOO_LARGE: Final = Rejection(413, 8, "the request is too large: send fewer spans per request")
BUSY: Final = Rejection(429, 8, "the server is overloaded: retry the request later", 1)
STORE_FAILED: Final = Rejection(503, 14, "the store cannot accept events now: retry the request later", 5)
INDEX_LOADING: Final = Rejection(
    503, 14, "the index of stored ids is being read from the events: retry the request later", 5
)
CLOCK_BEHIND: Final = Rejection(503, 14, "the clock of the server is behind: set it, and retry the request later", 60)
STOPPING: Final = Rejection(503, 14, "the server is stopping: retry the request later", 5)
TOO_SLOW: Final = Rejection(503, 14, "the request took too long to arrive: retry it", 1)
