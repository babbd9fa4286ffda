"""The rate limit of each plan."""

from __future__ import annotations

from typing import Final

SELF_HOSTED: Final = "self_hosted"
PLANS: Final = {
    "free": 60,
    "growth": 300,
    "scale": 1_000,
    "enterprise": 10_000,
    # Effectively unlimited: the operator of the server is its only user.
    SELF_HOSTED: 1_000_000,
}
"""REST requests per minute, by plan."""
