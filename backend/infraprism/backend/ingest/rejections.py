"""Why a whole request is refused, in both protocols' terms. The texts are ours alone and say what to do."""

from __future__ import annotations

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """A refusal as an HTTP status, a gRPC code (google.rpc.Code) and a text.

    Where `retry_after_s` is set, the same request may be sent again after that time.
    """

    http_status: int
    grpc_code: int
    message: str
    retry_after_s: int | None = None


class RefusedError(Exception):
    """The request was not taken; nothing of it was stored, unless it is to be sent again, which counts once."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


UNAUTHENTICATED: Final = Reason(
    401, 16, "no valid key: send the key of your account as `authorization: Bearer ip-...` (INFRAPRISM_API_KEY)"
)
UNREADABLE: Final = Reason(400, 3, "the body is no OTLP ExportTraceServiceRequest in the encoding it is sent as")
WRONG_TYPE: Final = Reason(415, 3, "send content-type application/x-protobuf or application/json")
WRONG_ENCODING: Final = Reason(415, 3, "send content-encoding gzip, or none")
TOO_LARGE: Final = Reason(413, 8, "the request is too large: send fewer spans at once")
BUSY: Final = Reason(429, 8, "more is arriving than can be stored: send the request again a little later", 1)
STORE_FAILED: Final = Reason(503, 14, "the store cannot take events now: send the request again later", 5)
STOPPING: Final = Reason(503, 14, "the server is stopping: send the request again later", 5)
