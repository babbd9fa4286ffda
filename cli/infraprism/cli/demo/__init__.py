"""`infraprism demo`: all of it at work on this machine, checked against what the provider served."""

from infraprism.cli.demo.command import add_parser, run

__all__ = ["add_parser", "run"]
