"""How long the events of each plan are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PLAN_DAYS: Final[Mapping[str, int | None]] = {
    "free": 7,
    "growth": 90,
    "scale": 365,
    "enterprise": None,
    "self_hosted": None,
}
"""Days, by plan. None: without limit, unless the account has a period of its own."""
