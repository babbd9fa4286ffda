"""The closed lists of pages and features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PAGES: Final = (
    "overview",
    "costs",
    "entities",
    "models",
    "sessions",
    "events",
    "latency",
    "errors",
    "changes",
    "forecast",
    "settings",
    "data",
    "audit",
)
"""The pages of the dashboard."""
FEATURES: Final[Mapping[str, str]] = {
    "/v1/events": "events",
    "/v1/events/{event_id}": "events",
    "/v1/entities": "entities",
    "/v1/sessions": "sessions",
    "/v1/sessions/{session_id:path}": "sessions",
    "/v1/models": "models",
    "/v1/analytics/costs": "costs",
    "/v1/analytics/costs/timeseries": "timeseries",
    "/v1/analytics/latency": "latency",
    "/v1/analytics/errors": "errors",
    "/v1/analytics/changes": "changes",
    "/v1/analytics/forecast": "forecast",
    "/v1/analytics/distribution": "distribution",
    "/v1/exports": "exports",
    "/v1/data": "deletion",
    "/v1/audit": "audit",
}
"""The feature of each route that has one."""
