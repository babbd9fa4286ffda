"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket
from typing import Final

_BELOW_THOSE_OF_CONNECTIONS: Final = range(15_000, 32_000)
_chance: Final = random.SystemRandom()  # the seed of a test run is the same in each of its processes


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no outgoing connection is given in the meantime."""
    while True:
        port = _chance.choice(_BELOW_THOSE_OF_CONNECTIONS)
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
