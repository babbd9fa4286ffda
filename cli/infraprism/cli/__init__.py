"""The `infraprism` command. Each subcommand is a module with `add_parser` and `run`."""

from infraprism.cli.failure import Failure
from infraprism.cli.main import main

__all__ = ["Failure", "main"]
