"""Where the events of an exporter go: to the endpoint, to the preview, or, without usable settings, dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from infraprism.exporter import delivery_log
from infraprism.exporter.delivery import Delivery, Overflow
from infraprism.exporter.preview import Preview
from infraprism.exporter.settings import Settings, SettingsError
from infraprism.schema.delivery_stats import DeliveryStats

_LOOPBACK: Final = ("localhost", "127.", "[::1]")


class EventSink(Protocol):
    """Receives encoded events, already counted as accepted, and counts the outcome of each."""

    def add(self, spans: Sequence[bytes]) -> None:
        """Add events made by `span_bytes`, without blocking."""

    def flush(self, timeout_s: float) -> bool:
        """Finish all events added before this call. True if all of them were delivered within the timeout."""

    def stop(self, timeout_s: float) -> None:
        """Finish all events within the timeout, and drop those that are added later."""


class DroppingSink:
    """The sink of an exporter that cannot deliver: counts every event as dropped, with the reason."""

    def __init__(self, delivery_stats: DeliveryStats, reason: str) -> None:
        self._delivery_stats = delivery_stats
        self._reason = reason

    def add(self, spans: Sequence[bytes]) -> None:
        """Count the events as dropped."""
        self._delivery_stats.end("dropped", self._reason, len(spans))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # the signature of EventSink
        """False, unless there was nothing to deliver."""
        return not self._delivery_stats.accepted

    def stop(self, timeout_s: float) -> None:
        """Do nothing: no event is held."""


def open_event_sink(
    settings: Settings | SettingsError, delivery_stats: DeliveryStats, overflow: Overflow | None = None
) -> EventSink:
    """The sink for the settings. Logs once what the user has to fix."""
    if isinstance(settings, SettingsError):
        delivery_log.warn_once(delivery_log.MISCONFIGURED, str(settings))
        return DroppingSink(delivery_stats, "bad_settings")
    if settings.preview:
        return Preview(delivery_stats)
    if not settings.can_authenticate:
        delivery_log.warn_once(delivery_log.NO_API_KEY)
        return DroppingSink(delivery_stats, "no_api_key")
    if not settings.secure and not settings.host.startswith(_LOOPBACK):
        delivery_log.warn_once(delivery_log.UNENCRYPTED, settings.host)
    return Delivery(settings, delivery_stats, overflow)
