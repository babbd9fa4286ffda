"""Entry point of the `infraprism` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from infraprism.cli.command import Command
from infraprism.cli.failure import Failure

COMMANDS: Final = ("demo", "serve", "events", "costs", "price", "preview", "doctor")
"""Modules of this package, each a `Command`, in the order of `--help`."""

_INTERRUPTED: Final = 130
_ENVIRONMENT: Final = """\
environment:
  INFRAPRISM_ENDPOINT   where the backend is (default: http://localhost:4318)
  INFRAPRISM_API_KEY    the account's key

`infraprism COMMAND --help` has examples of each command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status: 0, 1 if it failed, 2 for wrong usage."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except Failure as failure:
        sys.stderr.write(f"infraprism: {failure}\n")
        return 1
    except BrokenPipeError:
        # Whoever reads our output has seen enough. What is still buffered must not be complained about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _run(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    # Only the module of the command that is meant is loaded: some bring much with them.
    meant = tuple(name for name in given[:1] if name in COMMANDS)
    args = parser(meant or COMMANDS).parse_args(given)
    status: int = args.run(args)
    return status


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The command line, with these commands."""
    found = argparse.ArgumentParser(
        prog="infraprism",
        description="What LLM calls cost, and for whom, from metadata alone.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=version("infraprism-opentelemetry"))
    subparsers = found.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in names:
        command: Command = import_module(f"infraprism.cli.{name}")
        command.add_parser(subparsers)
    return found
