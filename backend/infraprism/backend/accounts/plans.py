"""The limits of each plan, as data."""

from __future__ import annotations

from typing import Final, NamedTuple


class Plan(NamedTuple):
    """The limits of a plan. None is unlimited."""

    requests_per_minute: int | None
    """REST requests of an account per minute. OTLP requests do not count."""
    retention_days: int | None
    """How long single events are kept, from their start time."""


FREE: Final = "free"
ENTERPRISE: Final = "enterprise"
SELF_HOSTED: Final = "self_hosted"
PLANS: Final = {
    FREE: Plan(60, 7),
    "growth": Plan(300, 90),
    "scale": Plan(1_000, 365),
    # An account of this plan has its own values. One that is not set is unlimited.
    ENTERPRISE: Plan(None, None),
    # The operator of the server is its only user.
    SELF_HOSTED: Plan(None, None),
}
"""The plans by name."""
_UNKNOWN: Final = Plan(PLANS[FREE].requests_per_minute, None)
"""Of a plan that is not in the table: the strictest limit, and no event is deleted."""


def limits(plan: str, requests_per_minute: int | None = None, retention_days: int | None = None) -> Plan:
    """The limits of an account, from its plan and its own values. Only an enterprise account has own values."""
    if plan == ENTERPRISE:
        return Plan(requests_per_minute, retention_days)
    return PLANS.get(plan, _UNKNOWN)
