"""How long everything is kept: one table, from which the documentation is generated."""

from __future__ import annotations

from typing import Final, NamedTuple


class KeptFor(NamedTuple):
    """What a table has, how long it is kept, and which module deletes it. `days` is None if it is no fixed period."""

    table: str
    what: str
    period: str
    days: int | None
    deleted_by: str


REQUESTS: Final = KeptFor(
    "usage_requests",
    "API request logs: time, account, key id, method, route template, status, duration",
    "7 days",
    7,
    "usage_data/usage_data.py",
)
ACTIONS: Final = KeptFor(
    "usage_actions",
    "Page views and feature usage: account, day, name of a page or feature, count",
    "90 days",
    90,
    "usage_data/usage_data.py",
)
ERRORS: Final = KeptFor(
    "usage_errors",
    "Error logs: day, place in the code, class, code, count",
    "30 days",
    30,
    "usage_data/usage_data.py",
)
PERIODS: Final = (
    KeptFor(
        "events",
        "Events: one row per call",
        "7 days (free), 90 days (growth), 365 days (scale), custom or unlimited (enterprise), unlimited (self-hosted)",
        None,
        "retention/expiry.py",
    ),
    KeptFor(
        "sums_by_day, sums_by_quarter_hour",
        "Sums of the calls of a day, also by session and by quarter-hour",
        "as the events of the day",
        None,
        "store/aggregates/changes.py",
    ),
    KeptFor(
        "sums_by_day_0",
        "Permanent sums of the calls of a UTC day, without sessions and ids",
        "until the account or the entity is deleted",
        None,
        "deletions",
    ),
    ACTIONS,
    ERRORS,
    REQUESTS,
)
"""In the order of the documentation."""
