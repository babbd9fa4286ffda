"""The server process: OTLP over HTTP and gRPC, the REST API and the embedded store in one asyncio loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Final

from infraprism.backend.accounts import ACCOUNTS_FILE, Accounts
from infraprism.backend.first_key import FirstKey
from infraprism.backend.preflight import (
    DataDirectory,
    StartupError,
    absolute,
    check_cpu,
    check_exposure,
    check_port,
    check_prices,
    listen,
)
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.settings import Settings

__all__ = ["Settings", "run"]

_KEY_VARIABLE: Final = "INFRAPRISM_API_KEY"
_UNUSED_PACKAGES: Final = ("pyarrow", "pandas")
"""Packages that the engine imports if it can, to exchange data frames. They take 30 MB, and the server has none."""


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then store all accepted requests. Returns the exit status.

    Prints the API key and a setup link to stdout at the first start, and one line when the server is ready. If the
    server cannot start, prints one line to stderr and returns 1.
    """
    os.umask(0o077)
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
    check_exposure(settings)
    key = os.environ.get(_KEY_VARIABLE, "").strip()
    settings = replace(settings, data_dir=absolute(settings.data_dir))
    stop = asyncio.Event()
    _stop_on_signals(stop, stack)
    data_directory = stack.enter_context(closing(DataDirectory(settings.data_dir)))
    listening = stack.enter_context(listen(settings.host, settings.port))
    check_port(settings.host, settings.grpc_port, "--grpc-port")
    accounts = stack.enter_context(closing(_accounts(settings)))
    # Imported after the fast checks: importing the engine takes seconds.
    for name in _UNUSED_PACKAGES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: an import raises ModuleNotFoundError
    try:
        from infraprism.backend.serving import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _missing_package(error) from None
    first_key = FirstKey(settings.data_dir, key)
    try:
        first_key.prepare(accounts)
    except (DatabaseUnavailableError, OSError) as error:
        raise _damaged_accounts(settings, error) from None
    async with serve(settings, accounts, listening) as serving:
        data_directory.keep()
        data_directory.tighten()
        try:
            first_key.commit(accounts)
        except (DatabaseUnavailableError, OSError) as error:
            raise _damaged_accounts(settings, error) from None
        if first_key.to_show:
            _print(f"An API key was created. It is shown only once:\n  export {_KEY_VARIABLE}={first_key.to_show}")
        if first_key.link_to_show:
            _print(
                "Create the first member with this link within 24 hours. It works once:\n"
                f"  {serving.base_url}/auth/setup?token={first_key.link_to_show}"
            )
        first_key.was_shown()
        _print(f"InfraPrism is ready: {serving.addresses}, data in {settings.data_dir}")
        stopped, ended = asyncio.create_task(stop.wait()), asyncio.ensure_future(serving.writer_ended())
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        has_failed = not stopped.done()
        for task in (stopped, ended):
            task.cancel()
    if has_failed:
        raise StartupError("the writer of events has stopped because of an internal error: start the server again")


def _stop_on_signals(stop: asyncio.Event, stack: ExitStack) -> None:
    """Set `stop` on SIGTERM and SIGINT. Repeated signals are ignored until the process has exited."""
    loop = asyncio.get_running_loop()

    def on_signal(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is already closed
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Not loop.add_signal_handler: those handlers are removed with the loop, before the process exits.
        signal.signal(number, on_signal)
        stack.callback(signal.signal, number, signal.SIG_IGN)


def _accounts(settings: Settings) -> Accounts:
    try:
        accounts = Accounts(settings.accounts or settings.data_dir / ACCOUNTS_FILE, region=settings.region)
    except ModuleNotFoundError as error:
        raise _missing_package(error) from None
    except (DatabaseUnavailableError, OSError) as error:
        raise _damaged_accounts(settings, error) from None
    try:
        _claim(settings, accounts)
    except BaseException:
        accounts.close()
        raise
    return accounts


def _claim(settings: Settings, accounts: Accounts) -> None:
    """Check the regions, and give accounts without one to that of this server. Raises StartupError."""
    from infraprism.backend.regions import Regions, RegionsError  # noqa: PLC0415  # needs the packages of the server
    from infraprism.backend.regions.claim import OtherRegionsError, claim  # noqa: PLC0415  # as above

    try:
        Regions(settings.region, settings.regions)
        claim(accounts.database, settings.region)
    except RegionsError as error:
        raise StartupError(str(error)) from None
    except OtherRegionsError:
        raise StartupError("the accounts have regions: give --region, the one whose data is in --data-dir") from None
    except DatabaseUnavailableError as error:
        raise _damaged_accounts(settings, error) from None


def _missing_package(error: ModuleNotFoundError) -> StartupError:
    extra = "server,cluster" if error.name == "psycopg" else "server"
    return StartupError(f"{error.name} is missing: pip install 'infraprism-opentelemetry[{extra}]'")


def _damaged_accounts(settings: Settings, error: Exception) -> StartupError:
    if settings.accounts is not None:
        return StartupError(f"PostgreSQL (--accounts) cannot be used: {error}")
    if "disk is full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
        return StartupError(f"{settings.data_dir / ACCOUNTS_FILE} cannot be written: the disk is full, free some space")
    return StartupError(
        f"{settings.data_dir / ACCOUNTS_FILE} cannot be used ({error}): restore it from a backup, or choose another"
        " --data-dir. Without it no key is valid"
    )


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the user's terminal
