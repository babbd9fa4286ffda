"""Limits of attempts to log in, per email and per client address, in the memory of one process.

Neither is written to a disk, and only keyed hashes of both are in memory.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from infraprism.backend.accounts.errors import RefusedError

WINDOW_S: Final = 900
PER_EMAIL: Final = 10
PER_ADDRESS: Final = 50
_MAX_ENTRIES: Final = 20_000


class LoginLimits:
    """Counts attempts in windows that begin with the first one. Thread-safe. `clock` returns Unix seconds.

    An unknown email is counted as a known one, so that a refusal does not show whether it exists. Beyond 20,000 entries
    the oldest is forgotten.
    """

    def __init__(self, clock: Callable[[], float], per_email: int = PER_EMAIL, per_address: int = PER_ADDRESS) -> None:
        self._clock = clock
        self._limits = {"email": per_email, "address": per_address}
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._attempts: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def begin(self, email: str, address: str | None) -> None:
        """Count an attempt before the password is verified, so that attempts at the same time count.

        A refused attempt is not counted. Raises RefusedError.
        """
        entries = [("email", email), *([("address", address)] if address else ())]
        now = self._clock()
        with self._lock:
            counted = []
            for kind, value in entries:
                name = self._name(kind, value)
                start, count = self._attempts.get(name, (now, 0))
                if not 0 <= now - start < WINDOW_S:
                    start, count = now, 0
                if count >= self._limits[kind]:
                    wait_s = int(start + WINDOW_S - now) + 1
                    raise RefusedError("too_many_attempts", f"too many attempts: try again in {wait_s} seconds", wait_s)
                counted.append((name, start, count))
            for name, start, count in counted:
                self._attempts[name] = (start, count + 1)
            while len(self._attempts) > _MAX_ENTRIES:
                self._attempts.popitem(last=False)

    def succeeded(self, email: str, address: str | None) -> None:
        """The attempt was correct: forget those of the email, and this one of the address."""
        with self._lock:
            self._attempts.pop(self._name("email", email), None)
            name = self._name("address", address or "")
            if name in self._attempts:
                start, count = self._attempts[name]
                self._attempts[name] = (start, count - 1)

    def _name(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "replace"), "sha256")
