"""Checks before the server starts. Each failure is one line that names the cause and the fix."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from platform import machine
from typing import Final

from infraprism.backend.networks import is_loopback
from infraprism.backend.settings import Settings

PRICES_VARIABLE: Final = "INFRAPRISM_PRICES"
CPU_INFO: Final = Path("/proc/cpuinfo")
_LOCK: Final = "lock"
RESTORING: Final = "restoring"
"""The file that marks a directory into which a backup is restored: it is not complete."""


class StartupError(Exception):
    """The server cannot start. The message is shown to the user."""


def check_prices() -> None:
    """Load the price file of INFRAPRISM_PRICES, if set, so that no call is priced without it.

    Raises StartupError, which names the line.
    """
    if not os.environ.get(PRICES_VARIABLE, "").strip():
        return
    from infraprism.pricing import PricesFileError, prices  # noqa: PLC0415 - most servers have no such file

    try:
        prices()
    except PricesFileError as error:
        raise StartupError(f"{PRICES_VARIABLE} names prices that cannot be used: {error}") from None


def check_cpu() -> None:
    """The x86-64 build of the embedded engine requires AVX2 and aborts the process without it.

    Raises StartupError.
    """
    if sys.platform != "linux" or machine() != "x86_64" or not CPU_INFO.exists():
        return
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "avx2")
    if "avx2" not in flags.split():
        raise StartupError("this CPU has no AVX2, which the embedded database needs: run the server on a newer machine")


def absolute(path: Path) -> Path:
    """The absolute path of the data directory: the engine takes no other. Raises StartupError."""
    try:
        found = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise StartupError(f"{path} is not the path of a directory: choose another --data-dir") from None
    if "?" in str(found):
        # The engine reads what follows as options, and would write to another directory.
        raise StartupError(f"{path} contains a question mark: choose another --data-dir")
    return found


class DataDirectory:
    """The data directory, created and locked. Unless `keep` was called, `close` removes what was not there before."""

    def __init__(self, path: Path) -> None:
        """Create and lock the directory. Raises StartupError."""
        self._path = path
        self._created: list[Path] = []
        self._is_kept = False
        try:
            self._created += [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._before = {found.name for found in path.iterdir()}
            self._lock = (path / _LOCK).open("ab")
        except OSError as error:
            self._remove_folders()
            raise StartupError(
                f"{path} cannot be written ({error.strerror}): choose a --data-dir that this user may write to"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise StartupError(
                f"{path} is in use by another infraprism server: stop it, or choose another --data-dir"
            ) from None

        if (path / RESTORING).exists():
            self._lock.close()
            raise StartupError(
                f"{path} has an incomplete restore of a backup: run `infraprism backup restore` again, or empty it"
            )

    def keep(self) -> None:
        """Keep all files: the server is ready."""
        self._is_kept = True
        self._created.clear()

    def tighten(self) -> None:
        """Take the permissions of other users from the directory and its files, and say so if there were any."""
        _tighten(self._path)

    def close(self) -> None:
        """Remove what a failed start has created, and release the lock."""
        for found in self._path.iterdir():
            if not self._is_kept and found.name not in self._before:
                self._remove(found)
        self._remove_folders()
        self._lock.close()

    @staticmethod
    def _remove(found: Path) -> None:
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)
        else:
            with suppress(OSError):
                found.unlink()

    def _remove_folders(self) -> None:
        for folder in self._created:
            with suppress(OSError):  # it was not created, or has other files
                folder.rmdir()


def _tighten(path: Path) -> None:
    """Take the permissions of other users from a directory, and say so if there were any."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            path.chmod(mode & 0o700)
            print(f"note: other users had access to {path}: it has mode 0700 now", flush=True)  # noqa: T201
        for file in path.rglob("*"):
            if not file.is_symlink() and (mode := file.stat().st_mode) & 0o077:
                file.chmod(mode & 0o700)
    except OSError as error:
        print(f"note: the permissions of {path} cannot be set ({error.strerror})", flush=True)  # noqa: T201


def check_exposure(settings: Settings) -> None:
    """Keys and events must not cross a network without encryption. Raises StartupError."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise StartupError("--tls-cert and --tls-key belong together: set both")
    if settings.client_address_header is not None and not settings.behind_proxy:
        raise StartupError("--client-address-header needs --behind-proxy: without a proxy every client can send it")
    if settings.tls_cert is None and not settings.behind_proxy and not is_loopback(settings.host):
        raise StartupError(
            f"--host {settings.host} can be reached by other machines without encryption: set --tls-cert and --tls-key,"
            " or --behind-proxy if a proxy in front of this server uses TLS, or --host 127.0.0.1"
        )


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A listening socket. `option` is the command-line option of the port, for the message. Raises StartupError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise StartupError(f"{host} is not an address of this machine: choose another --host") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        if getattr(error, "errno", 0) == errno.EADDRINUSE:
            raise StartupError(
                f"port {port} of {host} is in use: stop the process that uses it, or choose another {option}"
            ) from None
        raise StartupError(f"cannot listen on port {port} of {host}: choose another {option} or --host") from None
    listening.setblocking(False)  # noqa: FBT003  # the socket's own signature
    return listening


def check_port(host: str, port: int, option: str) -> None:
    """Check that a port is free. Raises StartupError."""
    listen(host, port, option).close()
