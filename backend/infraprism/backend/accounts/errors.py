"""Why a change of an account is refused."""

from __future__ import annotations

from typing import Literal

Reason = Literal["invalid", "not_found", "forbidden", "conflict", "invalid_link", "invalid_login", "too_many_attempts"]


class RefusedError(Exception):
    """A change is refused and nothing was changed. The message contains no value that was sent.

    `retry_after_s` is set if the same request can succeed later.
    """

    def __init__(self, reason: Reason, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
