"""`infraprism doctor`: checks the installation, the settings, the client packages and the backend."""

from infraprism.cli.doctor.command import add_parser, run

__all__ = ["add_parser", "run"]
