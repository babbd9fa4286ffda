"""The options `--store` and `--accounts`: URLs, with passwords that are kept out of the list of processes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

STORE: Final = "store"
ACCOUNTS: Final = "accounts"
TO: Final = "to"
_VARIABLES: Final = {TO: "INFRAPRISM_STORE", STORE: "INFRAPRISM_STORE", ACCOUNTS: "INFRAPRISM_ACCOUNTS"}
_HELP: Final = {
    STORE: "a ClickHouse server: clickhouse://user:password@host:8443/database (default: INFRAPRISM_STORE, or the data"
    " directory)",
    ACCOUNTS: "the database of accounts: postgresql://user:password@host/database (default: INFRAPRISM_ACCOUNTS, or the"
    " data directory)",
}


def add_url(parser: argparse.ArgumentParser, name: str) -> None:
    """Add one of the options."""
    parser.add_argument(f"--{name}", metavar="URL", help=_HELP[name])


def url(args: argparse.Namespace, name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The value of the option with its password, or None."""
    given: str | None = getattr(args, name)
    found = environment.get(_VARIABLES[name], "").strip()
    if given is None or (found and without_password(found) == given):
        return found or None
    return given


def hide_passwords(args: argparse.Namespace) -> None:
    """Start this process again without the passwords in its arguments. They are passed in its environment."""
    given = {name: getattr(args, name, None) for name in _VARIABLES}
    with_password = {name: value for name, value in given.items() if value and without_password(value) != value}
    shown = list(sys.orig_argv)
    for value in with_password.values():
        shown = [argument.replace(value, without_password(value)) for argument in shown]
    if shown != sys.orig_argv:
        _start_again(shown, {_VARIABLES[name]: value for name, value in with_password.items()})


def _start_again(arguments: list[str], variables: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *arguments[1:]], os.environ | variables)  # noqa: S606  # no shell is wanted


def without_password(text: str) -> str:
    """A URL without its password."""
    scheme, separator, rest = text.partition("://")
    credentials, at, host = rest.rpartition("@")
    user, _, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{at}{host}"
