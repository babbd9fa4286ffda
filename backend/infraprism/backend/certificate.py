"""The TLS certificate of the server, which is loaded again when its files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc  # type: ignore[import-untyped]  # the package has no types

from infraprism.backend.preflight import StartupError

_log: Final = logging.getLogger(__name__)
_OTHERS: Final = 0o007
_State = tuple[tuple[int, int, int] | None, ...]


class PairError(Exception):
    """The certificate and the key cannot be used. The message names the files and the cause."""


class _Pair(NamedTuple):
    context: ssl.SSLContext
    certificate: bytes
    key: bytes


class Certificate:
    """The certificate and the key in two PEM files.

    `refresh` loads them again if they have changed. New connections then use the new pair, open ones continue. A pair
    that cannot be used is reported in one line of the log, and the last one stays. The versions of TLS are 1.2 and 1.3.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load the files. Raises StartupError."""
        self._certificate, self._key = certificate, key
        self._handled = self._seen = self._state()
        try:
            self._pair = self._loaded()
        except PairError as error:
            raise StartupError(str(error)) from None
        self.context: Final = self._pair.context
        """asyncio keeps it for all connections. The callback replaces it for each of them by the newest one."""
        self.context.sni_callback = self._select

    def key_is_readable_by_others(self) -> bool:
        """Whether every user of the machine may read or replace the key."""
        return bool(self._key.stat().st_mode & _OTHERS)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """The credentials of a gRPC server. gRPC asks for the certificate of each new connection."""
        return grpc.dynamic_ssl_server_credentials(self._grpc_configuration(), self._grpc_configuration)

    def refresh(self, *, at_once: bool = False) -> None:
        """Load the files again if they have changed.

        Without `at_once` they must be equal in two calls: a pair of which only one file is written is not reported.
        """
        state = self._state()
        is_stable, self._seen = at_once or state == self._seen, state
        if state == self._handled or not is_stable:
            return
        self._handled = state
        try:
            pair = self._loaded()
        except PairError as error:
            _log.error("%s; the last certificate remains in use", error)
            return
        if self._state() == state:  # else they were written meanwhile, and are loaded by a later call
            self._pair = pair
            _log.warning("the TLS certificate was loaded again")

    def _state(self) -> _State:
        return tuple(_state_of(path) for path in (self._certificate, self._key))

    def _loaded(self) -> _Pair:
        names = f"--tls-cert {self._certificate} and --tls-key {self._key}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            pair = _Pair(context, self._certificate.read_bytes(), self._key.read_bytes())
            # Without this password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        except ssl.SSLError as error:
            cause = (error.reason or "no PEM certificate or key, or a key with a passphrase").lower().replace("_", " ")
            raise PairError(f"{names} cannot be used ({cause}): check that they belong together") from None
        except OSError as error:
            raise PairError(f"{names} cannot be read ({error.strerror}): check the paths and permissions") from None
        return pair

    def _select(self, connection: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._pair.context

    def _grpc_configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self._pair.key, self._pair.certificate)])


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
