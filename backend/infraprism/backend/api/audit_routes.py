"""`/v1/audit`: the audit log of the account."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.api.authentication import AdminCaller
from infraprism.backend.api.filters import one_of
from infraprism.backend.api.times import interval
from infraprism.backend.audit.actions import ACTIONS
from infraprism.backend.audit.audit_log import AuditLog, Selection


def _valid_time(value: str) -> str:
    interval(value)
    return value


class AuditQuery(BaseModel):
    """Parameters of a page of entries. `after` is the number of the last entry of the page before."""

    model_config = ConfigDict(extra="forbid")

    action: Annotated[str, one_of(sorted(ACTIONS))] | None = None
    since: Annotated[str, AfterValidator(_valid_time)] | None = None
    order: Literal["newest", "oldest"] = "newest"
    after: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


def add_audit_routes(app: FastAPI, log: AuditLog) -> None:
    """Add the route."""

    @app.get("/v1/audit")
    def list_audit_entries(account: AdminCaller, query: Annotated[AuditQuery, Query()]) -> dict[str, Any]:
        """Entries of the audit log, newest first, with the head: the number and the hash of the last entry."""
        since = None if query.since is None else interval(query.since).first
        selection = Selection(query.limit + 1, query.after, query.action, since, query.order == "newest")
        entries = log.page(account.id, selection)
        head = log.head(account.id)
        shown = entries[: query.limit]
        has_more = len(entries) > query.limit
        return {
            "data": [entry.as_json() for entry in shown],
            "pagination": {
                "limit": query.limit,
                "has_more": has_more,
                "next_after": shown[-1].number if has_more else None,
            },
            "head": head and {"number": head.number, "hash": head.hash.hex()},
        }
