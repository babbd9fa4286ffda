"""What of a period can be answered beyond retention: by sums of whole days, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from infraprism.backend.analytics import time_zones
from infraprism.backend.store.aggregates.zone_names import UTC_ZONE

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


def answers(
    first_ms: int | None, end_ms: int | None, cutoff_ms: int | None, *, zones: tuple[str, ...], has_sums: bool
) -> Iterator[Coverage]:
    """The parts of a period that may be answered, the most complete one first.

    With `has_sums` the sums of days answer the question: whole days of one of the `zones`, if they were computed in it,
    and always whole days of UTC. `cutoff_ms` is midnight UTC. Raises NothingRetainedError after the last part.
    """
    if cutoff_ms is None or (first_ms is not None and first_ms >= cutoff_ms):
        yield Coverage(first_ms, end_ms, None)
        return
    cause = (
        "the sums of days do not answer this question: choose a later period, or ask for costs by day of the reporting"
        " time zone, model, entity or one tag"
    )
    if has_sums:
        ends = (first_ms, None if end_ms is None or end_ms >= cutoff_ms else end_ms)
        for zone in zones:
            if zone != UTC_ZONE and all(at_ms is None or _is_midnight(at_ms, zone) for at_ms in ends):
                yield Coverage(first_ms, end_ms, "sums")
        first = None if first_ms is None else -(-first_ms // _DAY_MS) * _DAY_MS
        end = end_ms if end_ms is None or end_ms >= cutoff_ms else end_ms // _DAY_MS * _DAY_MS
        if first is None or end is None or first < end:
            yield Coverage(first, end, "sums" if (first, end) == (first_ms, end_ms) else "whole_days")
        else:
            cause = "the period has no whole UTC day: choose whole days in UTC"
    if end_ms is None or end_ms > cutoff_ms:
        yield Coverage(cutoff_ms, end_ms, "excluded")
    raise NothingRetainedError(f"the events before {time_text(cutoff_ms)} are expired, and {cause}")


def _is_midnight(time_ms: int, time_zone: str) -> bool:
    zone = time_zones.zone(time_zone)
    day = (time_zones.EPOCH + time_ms * time_zones.MILLISECOND).astimezone(zone).date()
    return time_zones.milliseconds(time_zones.start_of_day(day, zone)) == time_ms


def time_text(time_ms: int) -> str:
    """A time of a response."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).replace(tzinfo=None).isoformat() + "Z"
