"""The interface that the OTLP protocols implement: send the bytes of a request to the endpoint."""

from __future__ import annotations

from typing import Protocol

from infraprism.exporter.export_result import ExportResult
from infraprism.exporter.fork_safety import fork_barrier
from infraprism.exporter.settings import Settings


class Sender(Protocol):
    """A connection to the endpoint. Used by one thread, except for `abort`."""

    def send(self, request: bytes, timeout_s: float) -> ExportResult:
        """Make one attempt. Does not raise for errors of the endpoint or the network."""

    def abort(self) -> None:
        """End the current attempt, as far as the protocol allows. Called from another thread."""

    def close(self) -> None:
        """Close the connection."""


def connect(settings: Settings) -> Sender:
    """A sender for the protocol of the settings. Imports only what this protocol needs.

    Called on the delivery thread: gRPC must not be used in a process before it forks its workers.
    """
    with fork_barrier():
        if settings.protocol == "grpc":
            from infraprism.exporter.over_grpc import GrpcSender  # noqa: PLC0415

            return GrpcSender(settings)
        from infraprism.exporter.over_http import HttpSender  # noqa: PLC0415

        return HttpSender(settings)
