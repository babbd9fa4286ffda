"""The options of `infraprism serve` for TLS and for a proxy, with the environment variables that they win over."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from infraprism.backend.networks import networks
from infraprism.cli.failure import Failure
from infraprism.schema.settings import UnreadableSettingError, read_boolean

_BEHIND_PROXY: Final = "INFRAPRISM_BEHIND_PROXY"
_VARIABLES: Final = {
    "tls_cert": "INFRAPRISM_TLS_CERT",
    "tls_key": "INFRAPRISM_TLS_KEY",
    "client_address_header": "INFRAPRISM_CLIENT_ADDRESS_HEADER",
    "trusted_proxies": "INFRAPRISM_TRUSTED_PROXIES",
}


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--tls-cert", metavar="FILE", help="PEM certificate, for TLS (default: INFRAPRISM_TLS_CERT)")
    parser.add_argument("--tls-key", metavar="FILE", help="its PEM private key (default: INFRAPRISM_TLS_KEY)")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help=f"a proxy in front of the server uses TLS (also {_BEHIND_PROXY}=true)",
    )
    parser.add_argument(
        "--client-address-header",
        metavar="NAME",
        help="header in which the proxy passes on the client's address, such as CF-Connecting-IP; only to limit logins",
    )
    parser.add_argument(
        "--trusted-proxies", metavar="NETWORKS", help="of which connections this header is used, such as 10.0.0.0/8"
    )


def network_settings(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The arguments of Settings. Raises Failure."""

    def value(name: str) -> str | None:
        given: str | None = getattr(args, name)
        return given or environment.get(_VARIABLES[name], "").strip() or None

    try:
        behind_proxy = args.behind_proxy or read_boolean(_BEHIND_PROXY, environment)
        trusted = networks(value("trusted_proxies") or "")
    except UnreadableSettingError as error:
        raise Failure(str(error)) from None
    except ValueError as error:
        raise Failure(f"--trusted-proxies: {error}") from None
    certificate, key = value("tls_cert"), value("tls_key")
    return {
        "tls_cert": None if certificate is None else Path(certificate).expanduser(),
        "tls_key": None if key is None else Path(key).expanduser(),
        "behind_proxy": behind_proxy,
        "client_address_header": value("client_address_header"),
        "trusted_proxies": trusted,
    }
