"""The options of `infraprism backup`, and of the backups of `infraprism serve`. A secret key is never an argument."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infraprism.cli.failure import Failure

if TYPE_CHECKING:
    from infraprism.backend.backups.encryption import Identities

_STORAGE: Final = "INFRAPRISM_BACKUP_TO"
_RECIPIENT: Final = "INFRAPRISM_BACKUP_RECIPIENT"
_KEEP_DAYS: Final = "INFRAPRISM_BACKUP_KEEP_DAYS"
_EVERY: Final = "INFRAPRISM_BACKUP_EVERY"
_IDENTITY: Final = "INFRAPRISM_BACKUP_IDENTITY"
_IDENTITY_FILE: Final = "INFRAPRISM_BACKUP_IDENTITY_FILE"
_IDENTITY_COMMAND: Final = "INFRAPRISM_BACKUP_IDENTITY_COMMAND"
_COMMAND_TIMEOUT_S: Final = 120
_DEFAULT_KEEP_DAYS: Final = 30
_DEFAULT_EVERY_S: Final = 86_400
_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86_400}


def keep_days(text: str) -> int:
    """The value of `--keep-days`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _DEFAULT_KEEP_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {_DEFAULT_KEEP_DAYS}")
    return int(text)


def duration_s(text: str) -> int:
    """The value of `--backup-every` in seconds: a number with m, h or d."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 24h, 30m or 7d")
    return int(found[1]) * _UNITS_S[found[2]]


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Add the option of the storage."""
    parser.add_argument("--storage", metavar="URL", help=f"a path, or s3://bucket/prefix (default: {_STORAGE})")


def storage(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """The URL of the storage. Raises Failure."""
    found: str = args.storage or environment.get(_STORAGE, "").strip()
    if not found:
        raise Failure(f"give --storage, or set {_STORAGE}: an absolute path, or s3://bucket/prefix")
    return found


def add_recipients(parser: argparse.ArgumentParser) -> None:
    """Add the options of a new backup."""
    parser.add_argument(
        "--recipient", metavar="KEY", action="append", help=f"who can decrypt it: age1... (default: {_RECIPIENT})"
    )
    parser.add_argument(
        "--keep-days",
        type=keep_days,
        metavar="DAYS",
        help=f"when it expires, 1 to {_DEFAULT_KEEP_DAYS} (default: {_KEEP_DAYS}, or {_DEFAULT_KEEP_DAYS})",
    )


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the options of a server that makes backups."""
    parser.add_argument(
        "--backup-to", metavar="URL", help=f"make backups: a path, or s3://bucket/prefix (default: {_STORAGE})"
    )
    parser.add_argument(
        "--backup-every", type=duration_s, metavar="TIME", help=f"how often, such as 24h (default: {_EVERY}, or 24h)"
    )
    parser.add_argument(
        "--backup-recipient",
        dest="recipient",
        metavar="KEY",
        action="append",
        help=f"who can decrypt them: age1... (default: {_RECIPIENT})",
    )
    parser.add_argument(
        "--backup-keep-days",
        dest="keep_days",
        type=keep_days,
        metavar="DAYS",
        help=f"when they expire, 1 to {_DEFAULT_KEEP_DAYS} (default: {_KEEP_DAYS}, or {_DEFAULT_KEEP_DAYS})",
    )


def recipients(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The recipients. Raises Failure for a secret key."""
    found = args.recipient or [text.strip() for text in environment.get(_RECIPIENT, "").split(",")]
    if any("SECRET" in text.upper() for text in found):
        raise Failure("a recipient is a public key, age1...: never give the secret key to a server")
    return tuple(text for text in found if text)


def kept_days(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """After how many days a backup expires. Raises Failure."""
    if args.keep_days is not None:
        return int(args.keep_days)
    text = environment.get(_KEEP_DAYS, "").strip()
    try:
        return keep_days(text) if text else _DEFAULT_KEEP_DAYS
    except argparse.ArgumentTypeError as error:
        raise Failure(f"{_KEEP_DAYS}: {error}") from None


def schedule(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> tuple[str | None, int]:
    """Where a server makes backups, and every how many seconds. Raises Failure."""
    text = environment.get(_EVERY, "").strip()
    try:
        every_s = args.backup_every or (duration_s(text) if text else _DEFAULT_EVERY_S)
    except argparse.ArgumentTypeError as error:
        raise Failure(f"{_EVERY}: {error}") from None
    return args.backup_to or environment.get(_STORAGE, "").strip() or None, every_s


def add_identity(parser: argparse.ArgumentParser) -> None:
    """Add the options of the secret key."""
    parser.add_argument(
        "--identity-file",
        type=Path,
        metavar="FILE",
        help=f"the secret key (default: {_IDENTITY_FILE}, {_IDENTITY} or {_IDENTITY_COMMAND})",
    )


def identities(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Identities | None:
    """The secret keys of the file, of the environment, or printed by the command; None without one of them.

    Raises Failure, BackupError.
    """
    from infraprism.backend.backups.encryption import Identities  # noqa: PLC0415  # an extra

    file = args.identity_file or environment.get(_IDENTITY_FILE, "").strip()
    if file:
        try:
            return Identities(Path(file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise Failure(f"{file} cannot be read: it must be an identity file of age") from None
    if text := environment.get(_IDENTITY, "").strip():
        return Identities(text)
    if command := environment.get(_IDENTITY_COMMAND, "").strip():
        return Identities(_printed(command))
    return None


def _printed(command: str) -> str:
    try:
        ran = subprocess.run(  # noqa: S603  # the operator's own command, without a shell
            shlex.split(command), stdout=subprocess.PIPE, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Failure(f"{_IDENTITY_COMMAND} failed ({type(error).__name__}): run it by hand to see why") from None
    return ran.stdout
