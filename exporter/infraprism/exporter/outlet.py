"""Where the events of an exporter go: to the endpoint, onto the screen, or nowhere for lack of settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from infraprism.exporter import notices
from infraprism.exporter.delivery import Delivery, Overflow
from infraprism.exporter.preview import Preview
from infraprism.exporter.settings import Settings, SettingsError
from infraprism.processor.tally import Tally

_LOOPBACK: Final = ("localhost", "127.", "[::1]")


class Outlet(Protocol):
    """Takes encoded events, which the tally has accepted, and counts the end of each."""

    def add(self, spans: Sequence[bytes]) -> None:
        """Take in events made by `encoder.span_bytes`, without blocking."""

    def flush(self, timeout_s: float) -> bool:
        """Bring everything taken in before this call to its end; whether that is a good one, and was in time."""

    def stop(self, timeout_s: float) -> None:
        """Bring everything to its end within the timeout, and drop what is added later."""


class Nowhere:
    """The outlet of an exporter that cannot deliver: counts every event as dropped, with the reason."""

    def __init__(self, tally: Tally, reason: str) -> None:
        self._tally = tally
        self._reason = reason

    def add(self, spans: Sequence[bytes]) -> None:
        """Count the events as dropped."""
        self._tally.end("dropped", self._reason, len(spans))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # an outlet's signature
        """Say that nothing was delivered, unless there was nothing to deliver."""
        return not self._tally.accepted

    def stop(self, timeout_s: float) -> None:
        """Nothing is left to do."""


def open_outlet(settings: Settings | SettingsError, tally: Tally, overflow: Overflow | None = None) -> Outlet:
    """The outlet for the settings; tells the user, once, where there is something to set right."""
    if isinstance(settings, SettingsError):
        notices.say_once(notices.MISCONFIGURED, str(settings))
        return Nowhere(tally, "bad_settings")
    if settings.preview:
        return Preview(tally)
    if not settings.can_authenticate:
        notices.say_once(notices.NO_API_KEY)
        return Nowhere(tally, "no_api_key")
    if not settings.secure and not settings.host.startswith(_LOOPBACK):
        notices.say_once(notices.UNENCRYPTED, settings.host)
    return Delivery(settings, tally, overflow)
