"""The server process: OTLP over HTTP and gRPC, REST, and the embedded store, in one asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import Final

from infraprism.backend.accounts import Accounts, InvalidKeyError
from infraprism.backend.preflight import StartupError, check_cpu, check_port, check_prices, listen, open_data_dir
from infraprism.backend.settings import Settings

__all__ = ["Settings", "run"]

_KEY_VARIABLE: Final = "INFRAPRISM_API_KEY"


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then finish what was taken in. The exit status.

    Prints to stdout: at the first start the key, once; one line when it is ready. What keeps it from starting is one
    line on stderr, and status 1.
    """
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    try:
        with ExitStack() as stack:
            asyncio.run(_serve(settings, stack))
    except StartupError as error:
        print(f"infraprism: {error}", file=sys.stderr)  # noqa: T201  # the user's terminal
        return 1
    return 0


async def _serve(settings: Settings, stack: ExitStack) -> None:
    check_cpu()
    check_prices()
    stack.enter_context(open_data_dir(settings.data_dir))
    listening = stack.enter_context(listen(settings.host, settings.port))
    check_port(settings.host, settings.grpc_port, "--grpc-port")
    # The engine is imported only once what is quick to tell has been checked.
    try:
        from infraprism.backend.serving import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError(f"{error.name} is missing: pip install 'infraprism-opentelemetry[server]'") from None
    accounts = Accounts(settings.data_dir / "accounts.sqlite")
    stack.callback(accounts.close)
    first_key = _first_key(accounts)
    stop = asyncio.Event()
    _stop_on_signals(stop, stack)
    async with serve(settings, accounts, listening) as addresses:
        if first_key:
            _say(f"A key was made for you; it is shown only now:\n  export {_KEY_VARIABLE}={first_key}")
        _say(f"InfraPrism is ready: {addresses}, data in {settings.data_dir}")
        await stop.wait()


def _stop_on_signals(stop: asyncio.Event, stack: ExitStack) -> None:
    """Set `stop` on SIGTERM and SIGINT. Who asks again, at any time until the process is gone, does not kill it."""
    loop = asyncio.get_running_loop()

    def asked(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: it is stopping
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Not the loop's own handlers, which end with it, and Python's end before the process does.
        signal.signal(number, asked)
        stack.callback(signal.signal, number, signal.SIG_IGN)


def _first_key(accounts: Accounts) -> str | None:
    """Make the first account. Its key is the one in the environment, or a new one, which is returned to be shown."""
    given = os.environ.get(_KEY_VARIABLE, "").strip()
    if not accounts.is_empty():
        if given and accounts.of_key(given) is None:
            _say(f"note: the {_KEY_VARIABLE} of this environment is no key of this data directory")
        return None
    try:
        made = accounts.add_with_key(given or None)
    except InvalidKeyError as error:
        raise StartupError(f"{_KEY_VARIABLE} cannot be the first key: {error}; unset it to have one made") from None
    return None if given else made


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the user's terminal
