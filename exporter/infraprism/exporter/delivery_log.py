"""Log messages of the exporter. They hold constants, numbers and the host of the endpoint.

They never hold a text of the endpoint, of an exception or of a setting, since any of them may contain a key or content.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from infraprism.schema.native_threads import Lock, run_on_application_thread
from infraprism.schema.settings import log_once

LOGGER_NAME: Final = "infraprism.exporter"
INTERVAL_S: Final = 60.0
"""Each kind of message is logged at most this often. The delivery stats count every event."""

_log: Final = logging.getLogger(LOGGER_NAME)

_HINTS: Final = {
    "http_401": "check INFRAPRISM_API_KEY",
    "http_403": "check INFRAPRISM_API_KEY",
    "http_404": "check INFRAPRISM_ENDPOINT",
    "http_405": "check INFRAPRISM_ENDPOINT",
    "proxy_403": "a proxy refused the request; check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    "proxy_407": "the proxy requires a password; check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    "redirect": "set INFRAPRISM_ENDPOINT to the address that it redirects to",
    "grpc_unauthenticated": "check INFRAPRISM_API_KEY",
    "grpc_permission_denied": "check INFRAPRISM_API_KEY",
    "grpc_unavailable": "check that it runs and INFRAPRISM_ENDPOINT",
    "grpc_unimplemented": "check INFRAPRISM_ENDPOINT and INFRAPRISM_PROTOCOL",
    "unreadable_response": "the response is not OTLP; check INFRAPRISM_ENDPOINT and INFRAPRISM_PROTOCOL",
    "tls": "check its certificate, and INFRAPRISM_CERTIFICATE if your own authority issued it",
    "connection": "check that it runs and INFRAPRISM_ENDPOINT",
}

NO_API_KEY: Final = "InfraPrism: no events are sent: set INFRAPRISM_API_KEY (or api_key) to the key of your account."
UNENCRYPTED: Final = "InfraPrism: the key is sent unencrypted to %s: use an https endpoint."
MISCONFIGURED: Final = "InfraPrism: no events are sent: %s."


class DeliveryLog:
    """Logs failures of delivery, each kind at most once per INTERVAL_S. Thread-safe."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = Lock()
        self._last_logged: dict[str, float] = {}

    def retrying(self, reason: str, events: int) -> None:
        """An export failed, and the events stay queued."""
        self._warn("retrying", "InfraPrism: %s: export failed; %d events queued for retry (%s)%s.", reason, events)

    def rejected(self, reason: str, events: int) -> None:
        """The endpoint rejected events."""
        self._warn(f"rejected {reason}", "InfraPrism: %s: %d events were rejected (%s)%s.", reason, events)

    def dropped(self, reason: str, events: int) -> None:
        """Events were dropped: the queue was full, or they were not sent before the shutdown."""
        self._warn(f"dropped {reason}", "InfraPrism: %s: %d events were dropped (%s)%s.", reason, events)

    def _warn(self, kind: str, text: str, reason: str, events: int) -> None:
        if self._is_due(kind):
            hint = _HINTS.get(reason)
            hint = f": {hint}" if hint else ""
            run_on_application_thread(lambda: _log.warning(text, self._host, events, reason, hint))

    def _is_due(self, kind: str) -> bool:
        now = time.monotonic()
        with self._lock:
            last = self._last_logged.get(kind)
            if last is not None and now - last < INTERVAL_S:
                return False
            self._last_logged[kind] = now
            return True


def warn_once(text: str, *details: str) -> None:
    """Log a warning about the settings, once in a process. `text` is a constant above."""
    log_once(_log, logging.WARNING, text, *details)
