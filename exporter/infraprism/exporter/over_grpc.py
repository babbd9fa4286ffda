"""OTLP over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc  # type: ignore[import-untyped]  # the package has no types
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # as above
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above

from infraprism.exporter.export_result import TOO_LARGE, UNREADABLE, Answer, read_success
from infraprism.exporter.fork_safety import fork_barrier
from infraprism.exporter.settings import Settings
from infraprism.schema.distribution import DISTRIBUTION, version

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PATIENT: Final = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)
_DOUBTFUL: Final = frozenset((grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL))
# How the gRPC libraries (C, Go, Java) word that a message is too big for the server: they have one code for it and
# for "ask later".
_TOO_LARGE: Final = ("larger than max", "exceeds maximum size")
# What we take of an answer, far more than OTLP needs. The number is odd so that it can be told in an error's text from
# the limit of a server.
_LARGEST_ANSWER_BYTES: Final = 65_521
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LARGEST_ANSWER_BYTES),
    ("grpc.primary_user_agent", f"{DISTRIBUTION}/{version()}"),
    # Channels of one process share connections and their back-off; ours is to start anew when it is made anew.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


class GrpcSender:
    """Sends over one channel, made anew after the endpoint was away: a restarted endpoint is found again at once."""

    def __init__(self, settings: Settings) -> None:
        self._target = settings.target
        self._metadata = tuple(settings.request_headers().items())
        self._compression = grpc.Compression.Gzip if settings.compression == "gzip" else grpc.Compression.NoCompression
        self._credentials = _credentials(settings) if settings.secure else None
        self._channel: grpc.Channel | None = None

    def send(self, request: bytes, timeout_s: float) -> Answer:
        """One attempt within `timeout_s`, connecting included."""
        try:
            with fork_barrier():
                channel = self._channel = self._channel or self._connect()
                # Bytes in and bytes out: the request is encoded already, and nearly every answer is empty.
                export = channel.unary_unary(_EXPORT)
                body = export(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._failed(error)
        return read_success(body)

    def abort(self) -> None:
        """Closing the channel cancels the attempt."""
        self.close()

    def close(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _connect(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self._target, _OPTIONS, self._compression)
        return grpc.secure_channel(self._target, self._credentials, _OPTIONS, self._compression)

    def _failed(self, error: grpc.RpcError) -> Answer:
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            self.close()
        text = error.details() or ""
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and any(words in text for words in _TOO_LARGE):
            return UNREADABLE if str(_LARGEST_ANSWER_BYTES) in text else TOO_LARGE
        reason = f"grpc_{code.name.lower()}"
        if code in _PATIENT:
            return Answer("later", reason, retry_after_s=_retry_after_s(error.trailing_metadata() or ()))
        return Answer("later", reason, maybe_poison=True) if code in _DOUBTFUL else Answer("refused", reason)


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    certificate = settings.client_certificate_file
    # A PEM file may hold the certificate and its key.
    key = settings.client_key_file or certificate
    return grpc.ssl_channel_credentials(_content(settings.certificate_file), _content(key), _content(certificate))


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:  # noqa: PTH123  # as in settings
        return file.read()


def _retry_after_s(trailers: Sequence[tuple[str, str | bytes]]) -> float | None:
    """What google.rpc.RetryInfo asks for: a trailer of its own, or a detail of the status."""
    for key, value in trailers:
        try:
            if key == "google.rpc.retryinfo-bin" and isinstance(value, bytes):
                return _seconds(RetryInfo.FromString(value))
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return _seconds(info)
        except DecodeError:
            continue
    return None


def _seconds(info: RetryInfo) -> float:
    return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
