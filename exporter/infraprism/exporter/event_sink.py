"""Where the events of an exporter go: to the endpoint, onto the screen, or nowhere for lack of settings."""

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
    """Takes encoded events, which the tally has accepted, and counts the end of each."""

    def add(self, spans: Sequence[bytes]) -> None:
        """Take in events made by `encoder.span_bytes`, without blocking."""

    def flush(self, timeout_s: float) -> bool:
        """Bring everything taken in before this call to its end; whether that is a good one, and was in time."""

    def stop(self, timeout_s: float) -> None:
        """Bring everything to its end within the timeout, and drop what is added later."""


class DroppingSink:
    """The outlet of an exporter that cannot deliver: counts every event as dropped, with the reason."""

    def __init__(self, delivery_stats: DeliveryStats, reason: str) -> None:
        self._delivery_stats = delivery_stats
        self._reason = reason

    def add(self, spans: Sequence[bytes]) -> None:
        """Count the events as dropped."""
        self._delivery_stats.end("dropped", self._reason, len(spans))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # an outlet's signature
        """Say that nothing was delivered, unless there was nothing to deliver."""
        return not self._delivery_stats.accepted

    def stop(self, timeout_s: float) -> None:
        """Nothing is left to do."""


def open_event_sink(
    settings: Settings | SettingsError, delivery_stats: DeliveryStats, overflow: Overflow | None = None
) -> EventSink:
    """The outlet for the settings; tells the user, once, where there is something to set right."""
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
