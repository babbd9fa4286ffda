"""Entry point of the `infraprism` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from infraprism.cli import costs, demo, doctor, events, preview, serve
from infraprism.cli.failure import Failure

COMMANDS: Final = (demo, serve, events, costs, preview, doctor)
"""The subcommands, in the order of `--help`."""

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
    args = parser().parse_args(arguments)
    status = args.run(args)
    return status if isinstance(status, int) else 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    found = argparse.ArgumentParser(
        prog="infraprism",
        description="What LLM calls cost, and for whom, from metadata alone.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=version("infraprism-opentelemetry"))
    subparsers = found.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return found
