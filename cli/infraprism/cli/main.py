"""Entry point of the `infraprism` command: parses the arguments and runs a subcommand."""

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

COMMANDS: Final = (
    "demo",
    "serve",
    "store",
    "backup",
    "keys",
    "account",
    "members",
    "audit",
    "events",
    "costs",
    "export",
    "delete",
    "receipt",
    "usage-data",
    "price",
    "preview",
    "doctor",
)
"""The subcommands, each with a module that is a `Command`, in the order of `--help`."""

_INTERRUPTED: Final = 130
_ENVIRONMENT: Final = """\
environment:
  INFRAPRISM_ENDPOINT   the backend (default: http://localhost:4318)
  INFRAPRISM_API_KEY    the key of the account

`infraprism COMMAND --help` has examples of each command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 if it failed, 2 for wrong usage, 130 if it was interrupted."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except Failure as failure:
        sys.stderr.write(f"infraprism: {failure}\n")
        return 1
    except BrokenPipeError:
        # The reader closed the pipe. The buffered rest must not cause an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _run(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    # Only the module of the given command is imported, since some import much.
    names = tuple(name for name in given[:1] if name in COMMANDS)
    args = parser(names or COMMANDS).parse_args(given)
    status: int = args.run(args)
    return status


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser with these commands."""
    root = argparse.ArgumentParser(
        prog="infraprism",
        description="Cost, tokens, latency and errors of LLM calls per customer, team and project.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=version("infraprism-opentelemetry"))
    subparsers = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in names:
        command: Command = import_module(f"infraprism.cli.{name.replace('-', '_')}")
        command.add_parser(subparsers)
    return root
