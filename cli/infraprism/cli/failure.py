"""The exception of a command that failed."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818  # an expected failure, not a bug
    """One line for the user: what is wrong and what to do. The command ends with status 1."""
