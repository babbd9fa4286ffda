"""Free ports for servers that are configured with one."""

from __future__ import annotations

import random
import socket
from typing import Final

_BELOW_EPHEMERAL_PORTS: Final = range(15_000, 32_000)
_random: Final = random.SystemRandom()  # not seeded: all processes of a test run have the same seed


def free_port() -> int:
    """A port without a listener, outside of the range of ephemeral ports."""
    while True:
        port = _random.choice(_BELOW_EPHEMERAL_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
