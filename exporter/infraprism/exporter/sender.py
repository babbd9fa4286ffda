"""The one thing that the protocols differ in: how the bytes of a request get to the endpoint."""

from __future__ import annotations

from typing import Protocol

from infraprism.exporter.export_result import Answer
from infraprism.exporter.fork_safety import fork_barrier
from infraprism.exporter.settings import Settings


class Sender(Protocol):
    """A connection to the endpoint; used by one thread, except for `abort`."""

    def send(self, request: bytes, timeout_s: float) -> Answer:
        """One attempt. Does not raise for what the endpoint or the network does."""

    def abort(self) -> None:
        """End an attempt that is under way, as far as the protocol allows; called from another thread."""

    def close(self) -> None:
        """Let go of the connection."""


def connect(settings: Settings) -> Sender:
    """A sender for the protocol of the settings. Imports what it needs, so that an application pays for one of them.

    Called on the delivering thread: gRPC is not to be touched before a process forks its workers.
    """
    with fork_barrier():
        if settings.protocol == "grpc":
            from infraprism.exporter.over_grpc import GrpcSender  # noqa: PLC0415

            return GrpcSender(settings)
        from infraprism.exporter.over_http import HttpSender  # noqa: PLC0415

        return HttpSender(settings)
