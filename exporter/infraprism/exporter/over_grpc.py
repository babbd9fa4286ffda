"""OTLP over gRPC: sends a request and reads the response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc  # type: ignore[import-untyped]  # the package has no types
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # as above
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # as above

from infraprism.exporter.export_result import TOO_LARGE, UNREADABLE, ExportResult, read_success
from infraprism.exporter.fork_safety import fork_barrier
from infraprism.exporter.settings import Settings
from infraprism.schema.distribution import DISTRIBUTION, version

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE: Final = frozenset(
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
_MAYBE_POISON: Final = frozenset((grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL))
# What the gRPC libraries (C, Go, Java) report for a message that is too large for the server. The status code is the
# same as for an exhausted quota.
_TOO_LARGE: Final = ("larger than max", "exceeds maximum size")
# The limit for responses, far more than OTLP needs. An unusual number, so that an error text that names it is not
# mistaken for the limit of a server.
_MAX_RESPONSE_BYTES: Final = 65_521
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
    ("grpc.primary_user_agent", f"{DISTRIBUTION}/{version()}"),
    # Channels of one process share connections and their backoff. A new channel of ours must start without backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


class GrpcSender:
    """Sends over one channel. It is replaced after the endpoint was unavailable, to reach a restarted one at once."""

    def __init__(self, settings: Settings) -> None:
        self._target = settings.target
        self._metadata = tuple(settings.request_headers().items())
        self._compression = grpc.Compression.Gzip if settings.compression == "gzip" else grpc.Compression.NoCompression
        self._credentials = _credentials(settings) if settings.secure else None
        self._channel: grpc.Channel | None = None

    def send(self, request: bytes, timeout_s: float) -> ExportResult:
        """Make one attempt within `timeout_s`, including the connect."""
        try:
            with fork_barrier():
                channel = self._channel = self._channel or self._connect()
                # No serializers: the request is encoded already, and nearly every response is empty.
                export = channel.unary_unary(_EXPORT)
                body = export(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._failed(error)
        return read_success(body)

    def abort(self) -> None:
        """Cancel the current attempt by closing the channel."""
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

    def _failed(self, error: grpc.RpcError) -> ExportResult:
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            self.close()
        text = error.details() or ""
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and any(words in text for words in _TOO_LARGE):
            return UNREADABLE if str(_MAX_RESPONSE_BYTES) in text else TOO_LARGE
        reason = f"grpc_{code.name.lower()}"
        if code in _RETRYABLE:
            return ExportResult("retry", reason, retry_after_s=retry_after_s(error.trailing_metadata() or ()))
        if code in _MAYBE_POISON:
            return ExportResult("retry", reason, maybe_poison=True)
        return ExportResult("rejected", reason)


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


def retry_after_s(trailers: Sequence[tuple[str, str | bytes]]) -> float | None:
    """Seconds to wait by google.rpc.RetryInfo, which is a trailer or a detail of the status; None without it."""
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
