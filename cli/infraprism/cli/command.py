"""What every subcommand is to the parser."""

from __future__ import annotations

import argparse
from typing import Protocol, TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # see below
"""What `add_subparsers` gives, for which argparse has no public name."""


class Command(Protocol):
    """A module of a subcommand."""

    def add_parser(self, subparsers: Subparsers) -> argparse.ArgumentParser:
        """Describe the command, with `set_defaults(run=run)`."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit status. Raises Failure."""
        ...


def new_parser(subparsers: Subparsers, name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
    """A subcommand's parser, whose help ends with `details` (examples, say) as they stand."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
