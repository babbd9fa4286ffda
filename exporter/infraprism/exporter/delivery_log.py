"""What the log says of deliveries: constants of ours, numbers, and the endpoint's host.

Never a text of the endpoint, of an exception, or of the settings, since any of them may hold a key or content.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from infraprism.schema.settings import log_once

LOGGER_NAME: Final = "infraprism.exporter"
INTERVAL_S: Final = 60.0
"""Each kind of notice at most this often; the tally has every single event."""

_log: Final = logging.getLogger(LOGGER_NAME)

_HINTS: Final = {
    "http_401": "check INFRAPRISM_API_KEY",
    "http_403": "check INFRAPRISM_API_KEY",
    "http_404": "check INFRAPRISM_ENDPOINT",
    "http_405": "check INFRAPRISM_ENDPOINT",
    "redirect": "set INFRAPRISM_ENDPOINT to the address that it redirects to",
    "grpc_unauthenticated": "check INFRAPRISM_API_KEY",
    "grpc_permission_denied": "check INFRAPRISM_API_KEY",
    "grpc_unavailable": "check that it runs and INFRAPRISM_ENDPOINT",
    "grpc_unimplemented": "check INFRAPRISM_ENDPOINT and INFRAPRISM_PROTOCOL",
    "unreadable_answer": "it does not answer as an OTLP endpoint; check INFRAPRISM_ENDPOINT and INFRAPRISM_PROTOCOL",
    "tls": "check its certificate, and OTEL_EXPORTER_OTLP_CERTIFICATE where it is your own",
    "connection": "check that it runs and INFRAPRISM_ENDPOINT",
}

NO_API_KEY: Final = (
    "InfraPrism: no events are delivered: set INFRAPRISM_API_KEY (or api_key) to the key of your account."
)
UNENCRYPTED: Final = "InfraPrism: the key travels unencrypted to %s: use an https endpoint."
MISCONFIGURED: Final = "InfraPrism: no events are delivered: %s."


class Notices:
    """Tells the user, without filling the log. Safe to use from any thread."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def waiting(self, reason: str, events: int) -> None:
        """Events could not be sent now; they are kept."""
        self._say("waiting", "InfraPrism: %s: %d events wait and are sent again (%s)%s.", reason, events)

    def rejected(self, reason: str, events: int) -> None:
        """The endpoint refused events for good."""
        self._say(f"rejected {reason}", "InfraPrism: %s: %d events were rejected (%s)%s.", reason, events)

    def dropped(self, reason: str, events: int) -> None:
        """Events that had no place, or no time left, to be kept."""
        self._say(f"dropped {reason}", "InfraPrism: %s: %d events were dropped (%s)%s.", reason, events)

    def _say(self, kind: str, text: str, reason: str, events: int) -> None:
        if self._is_time(kind):
            hint = _HINTS.get(reason)
            _log.warning(text, self._host, events, reason, f": {hint}" if hint else "")

    def _is_time(self, kind: str) -> bool:
        now = time.monotonic()
        with self._lock:
            last = self._last.get(kind)
            if last is not None and now - last < INTERVAL_S:
                return False
            self._last[kind] = now
            return True


def warn_once(text: str, *details: str) -> None:
    """Log a warning about the settings, once in a process; `text` is a constant above."""
    log_once(_log, logging.WARNING, text, *details)
