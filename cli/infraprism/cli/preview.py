"""`infraprism preview`: runs an app and prints the events that it would send, without sending them."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Final, NoReturn

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure

_EXAMPLES: Final = """\
Runs the app under opentelemetry-instrument. Each event is printed on stderr as the OTLP/JSON span that would be sent,
and nothing is sent. The output and the exit status of the app do not change.

examples:
  infraprism preview -- python app.py
  infraprism preview -- uvicorn app:api --port 8000
  infraprism preview -- python app.py 2>events.jsonl"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "preview", "run an app and print each event instead of sending it", _EXAMPLES)
    parser.add_argument("app", nargs=argparse.REMAINDER, metavar="-- COMMAND ...", help="the app and its arguments")
    parser.set_defaults(run=run, parser=parser)
    return parser


def run(args: argparse.Namespace) -> NoReturn:
    """Replace this process by the app. Raises Failure if there is no such command."""
    app = args.app[1:] if args.app[:1] == ["--"] else args.app
    if not app:
        args.parser.error("give the app's command: infraprism preview -- python app.py")
    if shutil.which(app[0]) is None:
        raise Failure(f"{app[0]}: command not found")
    command = [str(instrument_command()), *app]
    environment = os.environ | {"INFRAPRISM_PREVIEW": "1"}
    os.execve(command[0], command, environment)  # noqa: S606  # no shell is wanted


def instrument_command() -> Path:
    """The path of `opentelemetry-instrument` of this installation. Raises Failure if it is missing."""
    installed = Path(sys.executable).parent / "opentelemetry-instrument"
    if installed.exists():
        return installed
    found = shutil.which("opentelemetry-instrument")
    if found is None:
        raise Failure("opentelemetry-instrument is missing: pip install infraprism-opentelemetry")
    return Path(found)
