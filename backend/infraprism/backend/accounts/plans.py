"""What a plan allows, as data."""

from __future__ import annotations

from typing import Final

SELF_HOSTED: Final = "self_hosted"
PLANS: Final = {
    "free": 60,
    "growth": 300,
    "scale": 1_000,
    "enterprise": 10_000,
    # Whoever runs the server has no reason to hold itself up; the headers stay true all the same.
    SELF_HOSTED: 1_000_000,
}
"""REST requests a minute, by plan."""
