"""The interface of a subcommand, and the creation of its parser."""

from __future__ import annotations

import argparse
from typing import Final, Protocol, TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # see below
"""The return type of `add_subparsers`, for which argparse has no public name."""


_LAST_PORT: Final = 65_535
_MAX_SHARDS: Final = 1024


class Command(Protocol):
    """The module of a subcommand."""

    def add_parser(self, subparsers: Subparsers) -> argparse.ArgumentParser:
        """Add the command to the parser, with `set_defaults(run=run)`."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return the exit status. Raises Failure."""
        ...


def new_parser(subparsers: Subparsers, name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
    """A subcommand's parser. Its help ends with `details`, such as examples, printed unchanged."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def mebibytes(value: str) -> int:
    """The value of an option for a size in MiB."""
    if not (value.isascii() and value.isdigit()):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of MiB")
    return int(value)


def port(value: str) -> int:
    """The value of an option for a port."""
    if not (value.isascii() and value.isdigit()) or int(value) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{value!r} is not a port")
    return int(value)


def shards(value: str) -> int:
    """The value of an option for a number of shards."""
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= _MAX_SHARDS):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 1 to {_MAX_SHARDS}")
    return int(value)
