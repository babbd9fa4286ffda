"""Times as stored: UTC with seconds, in a text that sorts as the time does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

DAY_S: Final = 86_400
_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


def text(unix_s: float) -> str:
    """The text of a time."""
    return datetime.fromtimestamp(unix_s, UTC).strftime(_FORM)


def unix_s(stored: str) -> float:
    """The time of a text."""
    return datetime.strptime(stored, _FORM).replace(tzinfo=UTC).timestamp()


def day(number: int) -> str:
    """The day with this number of days since 1970, such as `2026-01-31`."""
    return datetime.fromtimestamp(number * DAY_S, UTC).strftime("%Y-%m-%d")
