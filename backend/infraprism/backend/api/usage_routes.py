"""`/v1/usage-data`: what is held about the use of the service by an account; and `/v1/retention`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from infraprism.backend.api.authentication import Actor, AdminCaller, Caller
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import one_of
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.retention import Retention
from infraprism.backend.retention.coverage import time_text
from infraprism.backend.retention.periods import PERIODS
from infraprism.backend.retention.retention import MAX_DAYS
from infraprism.backend.usage_data import UsageData
from infraprism.backend.usage_data.names import PAGES


class RequestsQuery(BaseModel):
    """Parameters of a page of requests. `before` is the number of the last request of the page before."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class PageView(BaseModel):
    """A view of a page of the dashboard."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[str, one_of(PAGES)]


class UsageSettings(BaseModel):
    """Whether page views and feature usage are counted."""

    model_config = ConfigDict(extra="forbid")

    counts_page_views_and_features: bool


class Period(BaseModel):
    """The own period of an account in days; null: that of its plan."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None


def add_usage_routes(app: FastAPI, usage: UsageData, audit: AuditLog) -> None:
    """Add the routes of usage data."""

    @app.get("/v1/usage-data")
    def get_usage_data(account: Caller) -> dict[str, Any]:
        """What is held about the use of the service by this account: rows, oldest row and period of each table."""
        return {
            "data": [
                {
                    "table": one.kept.table,
                    "what": one.kept.what,
                    "period_days": one.kept.days,
                    "rows": one.rows,
                    "oldest": one.oldest,
                }
                for one in usage.held(account.id)
            ],
            "counts_page_views_and_features": usage.counts_actions(account.id),
            "lost_records": usage.lost,
        }

    @app.get("/v1/usage-data/requests")
    def list_requests(account: Caller, query: Annotated[RequestsQuery, Query()]) -> dict[str, Any]:
        """The requests of the last 7 days, newest first."""
        found = usage.requests(account.id, query.limit + 1, query.before)
        shown = found[: query.limit]
        has_more = len(found) > query.limit
        rows = [
            {"number": number, **{name: value for name, value in one._asdict().items() if name != "account_id"}}
            for number, one in shown
        ]
        pagination = {
            "limit": query.limit,
            "has_more": has_more,
            "next_before": shown[-1][0] if has_more else None,
        }
        return {"data": rows, "pagination": pagination}

    @app.post("/v1/usage-data/page-views", status_code=204)
    def record_page_view(account: Caller, view: PageView) -> Response:
        """Count a view of a page of the dashboard, unless the account has turned that off."""
        usage.record_page_view(account.id, view.page)
        return Response(status_code=204)

    @app.put("/v1/usage-data/settings", status_code=204)
    def set_usage_settings(account: AdminCaller, actor: Actor, settings: UsageSettings) -> Response:
        """Turn the counts of page views and feature usage on or off. Off also deletes the counts that are held."""
        usage.set_counts_actions(account.id, enabled=settings.counts_page_views_and_features)
        audit.append(account.id, actor, "setting.changed", "usage_data")
        return Response(status_code=204)


def add_retention_routes(app: FastAPI, retention: Retention, audit: AuditLog) -> None:
    """Add the routes of periods."""

    @app.get("/v1/retention")
    def get_retention(account: Caller) -> dict[str, Any]:
        """How long everything is kept: the events of this account, and each table."""
        cutoff_ms = retention.cutoff_ms(account.id)
        return {
            "days": retention.days(account.id),
            "events_since": None if cutoff_ms is None else time_text(cutoff_ms),
            "data": [{"table": one.table, "what": one.what, "period": one.period} for one in PERIODS],
        }

    @app.put("/v1/retention", status_code=204)
    def set_retention(account: AdminCaller, actor: Actor, period: Period) -> Response:
        """Set a period of the account that is shorter than that of its plan. Older events are excluded at once."""
        allowed = retention.plan_days(account.id)
        if period.days is not None and allowed is not None and period.days > allowed:
            raise ApiError(400, "invalid_parameter", f"days: at most {allowed}, the period of the plan")
        retention.set_days(account.id, period.days)
        audit.append(account.id, actor, "setting.changed", "retention")
        return Response(status_code=204)
