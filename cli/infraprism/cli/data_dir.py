"""The `--data-dir` option, and the accounts in that directory or in PostgreSQL."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from infraprism.backend.accounts import ACCOUNTS_FILE, Account, Accounts, RefusedError
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.cli.failure import Failure
from infraprism.cli.urls import ACCOUNTS, add_url, hide_passwords, url


def data_dir(text: str) -> Path:
    """The value of `--data-dir`. `~` is the home directory also where the shell does not replace it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of a directory is missing")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: no such user") from None


def default_data_dir() -> Path:
    """The user's data directory, by the XDG base directory specification."""
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "share") / "infraprism"


def add_data_dir(parser: argparse.ArgumentParser, *, is_nested: bool = False) -> None:
    """Add the option. A nested parser keeps the value that was given before its name."""
    default = default_data_dir()
    parser.add_argument(
        "--data-dir",
        type=data_dir,
        metavar="DIR",
        default=argparse.SUPPRESS if is_nested else default,
        help=f"directory of the data of the server (default: {default})".replace("%", "%%"),
    )


def add_account(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the account and its database."""
    add_url(parser, ACCOUNTS)
    parser.add_argument("--account", metavar="ID", help="the account, if the server has more than one: acc_...")


@contextmanager
def open_accounts(args: argparse.Namespace) -> Iterator[Accounts]:
    """The accounts of `--accounts` or of the data directory, also while a server uses them. Raises Failure."""
    hide_passwords(args)
    if location := url(args, ACCOUNTS):
        with _opened(location, "PostgreSQL (--accounts)", "") as accounts:
            yield accounts
        return
    directory = args.data_dir
    file = directory.resolve() / ACCOUNTS_FILE
    if not file.is_file():
        raise Failure(
            f"no accounts in {directory}: check --data-dir, or start `infraprism serve --data-dir {directory}`"
        )
    if not os.access(file, os.W_OK):
        raise Failure(f"{file} cannot be written: run this command as the user of the server")
    with _opened(file, str(file), ": check --data-dir") as accounts:
        yield accounts


@contextmanager
def _opened(location: Path | str, name: str, advice: str) -> Iterator[Accounts]:
    try:
        with closing(Accounts(location)) as accounts:
            yield accounts
    except RefusedError as error:
        raise Failure(error.message) from None
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing: pip install 'infraprism-opentelemetry[server,cluster]'") from None
    except (DatabaseUnavailableError, OSError) as error:
        raise Failure(f"{name} cannot be used ({error}){advice}") from None


def selected_account(accounts: Accounts, account_id: str | None) -> Account:
    """The account with this id, or the only account. Raises Failure."""
    every = accounts.all()
    if account_id is not None:
        found = next((account for account in every if account.id == account_id), None)
        if found is None:
            raise Failure("--account: no account of this data directory has this id")
        return found
    if len(every) != 1:
        raise Failure(
            f"this data directory has {len(every)} accounts: set --account to one of"
            f" {', '.join(account.id for account in every)}"
            if every
            else "this data directory has no account: start `infraprism serve` once"
        )
    return every[0]
