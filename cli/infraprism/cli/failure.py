"""The way a command says that it could not do its work."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818  # it ends a command and is no fault of the code
    """One line for the user that says what is wrong and what to do; the command ends with status 1."""
