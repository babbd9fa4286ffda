"""`infraprism demo`: runs an app, the backend and a local provider on this machine, and checks the events."""

from infraprism.cli.demo.command import add_parser, run

__all__ = ["add_parser", "run"]
