"""What of a period can be answered beyond retention: by sums of whole UTC days, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

Earlier = Literal["sums", "whole_days", "excluded"]
"""What an answer has of the time before the events: the sums of its days, those of its whole UTC days, or nothing."""
WORST: Final[tuple[Earlier, ...]] = ("sums", "whole_days", "excluded")
"""From the most complete answer to the least."""
_DAY_MS: Final = 86_400_000


class NothingRetainedError(ValueError):
    """The question cannot be answered for any time of the period."""


class Coverage(NamedTuple):
    """The bounds that are read, in milliseconds since 1970, and what the answer has of the time before the events."""

    first_ms: int | None
    end_ms: int | None
    earlier: Earlier | None


def covered(first_ms: int | None, end_ms: int | None, cutoff_ms: int | None, *, has_sums: bool) -> Coverage:
    """The part of a period that is answered. With `has_sums` the sums of whole UTC days answer the question.

    `cutoff_ms` is midnight UTC. Raises NothingRetainedError.
    """
    if cutoff_ms is None or (first_ms is not None and first_ms >= cutoff_ms):
        return Coverage(first_ms, end_ms, None)
    if not has_sums:
        if end_ms is not None and end_ms <= cutoff_ms:
            raise NothingRetainedError(
                f"the events before {time_text(cutoff_ms)} are expired, and the sums of days do not answer this"
                " question: choose a later period, or ask for costs by UTC day, model, entity or one tag"
            )
        return Coverage(cutoff_ms, end_ms, "excluded")
    first = None if first_ms is None else -(-first_ms // _DAY_MS) * _DAY_MS
    end = end_ms if end_ms is None or end_ms >= cutoff_ms else end_ms // _DAY_MS * _DAY_MS
    if first is not None and end is not None and first >= end:
        raise NothingRetainedError(
            f"the events before {time_text(cutoff_ms)} are expired, and the period has no whole UTC day: choose whole"
            " days in UTC"
        )
    return Coverage(first, end, "sums" if (first, end) == (first_ms, end_ms) else "whole_days")


def time_text(time_ms: int) -> str:
    """A time of a response."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).replace(tzinfo=None).isoformat() + "Z"
