"""The errors of jobs."""

from __future__ import annotations


class ConflictError(Exception):
    """A job cannot be added or cancelled. The message says why, without values of the request."""


class JobFailedError(Exception):
    """The job cannot succeed. It is not tried again. `message` is shown to the account."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class LeaseLostError(Exception):
    """Another server runs the job now. What this one does for it does not count."""


class StoppedError(Exception):
    """The job is to end now: the server stops, or the job was cancelled."""
