"""The errors of backups. This module can be imported without the packages of backups."""

from __future__ import annotations


class BackupError(Exception):
    """A backup cannot be made, read or restored, and trying again does not help. The message is shown to the user."""


class StorageError(OSError):
    """The storage did not read or write. Trying again may help. The message has no credentials."""
