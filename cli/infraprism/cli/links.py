"""The `--public-url` option, and the one-time links that begin with it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from infraprism.backend.accounts.links import Kind

_VARIABLE: Final = "INFRAPRISM_PUBLIC_URL"
_DEFAULT: Final = "http://localhost:4318"


def public_url(text: str) -> str:
    """The value of the option."""
    try:
        parts = urlsplit(text.strip())
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
        is_valid = is_valid and not (parts.query or parts.fragment or parts.username) and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise argparse.ArgumentTypeError("a URL such as https://infraprism.example.com is needed")
    return text.strip().rstrip("/")


def add_public_url(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--public-url",
        type=public_url,
        default=os.environ.get(_VARIABLE) or None,
        metavar="URL",
        help="where browsers reach the server, the beginning of links (default: INFRAPRISM_PUBLIC_URL, or where the"
        " server listens)",
    )


def link(args: argparse.Namespace, kind: Kind, token: str) -> str:
    """The link of a token."""
    # Imported here: the parser does not need the packages of the server.
    from infraprism.backend.accounts import links  # noqa: PLC0415

    return links.address(args.public_url or _DEFAULT, kind, token)


def described(args: argparse.Namespace, purpose: str, kind: Kind, token: str) -> str:
    """What a command prints of a new link."""
    from infraprism.backend.accounts.links import LIFETIME_S  # noqa: PLC0415  # as above

    return f"{purpose} within {LIFETIME_S[kind] // 3600} hours. It works once:\n  {link(args, kind, token)}\n"
