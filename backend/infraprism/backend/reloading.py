"""Loads the TLS certificate at the start, and again when its files change or on SIGHUP."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from typing import Final

from infraprism.backend.certificate import Certificate
from infraprism.backend.settings import Settings

_INTERVAL_S: Final = 1.0


async def certificate(settings: Settings, stack: AsyncExitStack) -> Certificate | None:
    """The certificate of the settings, or None. The stack ends its task. Raises StartupError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    loaded = await asyncio.to_thread(Certificate, settings.tls_cert, settings.tls_key)
    if loaded.key_is_readable_by_others():
        print(  # noqa: T201  # the user's terminal
            f"warning: other users can read {settings.tls_key}: set its mode to 0600", file=sys.stderr, flush=True
        )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: loaded.refresh(at_once=True))
    stack.callback(loop.remove_signal_handler, signal.SIGHUP)
    stack.callback(loop.create_task(_watch(loaded)).cancel)
    return loaded


async def _watch(loaded: Certificate) -> None:
    while True:
        await asyncio.sleep(_INTERVAL_S)
        await asyncio.to_thread(loaded.refresh)
