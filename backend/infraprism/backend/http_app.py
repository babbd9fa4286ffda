"""The HTTP application: OTLP in, REST out, on one port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, FastAPI, Query, Request, Response

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.api import costs, errors, events
from infraprism.backend.api.authentication import Access, caller
from infraprism.backend.ingest import over_http
from infraprism.backend.ingest.receiver import Intake
from infraprism.backend.store import Database

_JSON: Final = "application/json"
_NOT_OURS: Final = "only traces are taken here, at /v1/traces: an InfraPrism event is a span, not a log or a metric"
Caller = Annotated[Account, Depends(caller)]


class Services(NamedTuple):
    """What the application runs on."""

    accounts: Accounts
    database: Database
    intake: Intake
    readers: ThreadPoolExecutor


def application(services: Services) -> FastAPI:
    """The application."""
    app = FastAPI(title="InfraPrism", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    errors.install(app)
    app.add_middleware(Access, accounts=services.accounts)
    _otlp(app, services)
    _rest(app, services)
    return app


def _otlp(app: FastAPI, services: Services) -> None:
    @app.post("/v1/traces", include_in_schema=False)
    async def traces(request: Request) -> Response:
        return await over_http.export(request, services.intake)

    @app.post("/v1/logs", include_in_schema=False)
    @app.post("/v1/metrics", include_in_schema=False)
    async def not_ours() -> Response:
        return errors.error_response(404, "not_found", _NOT_OURS)


def _rest(app: FastAPI, services: Services) -> None:
    async def answer(read: Callable[[], bytes]) -> Response:
        body = await asyncio.get_running_loop().run_in_executor(services.readers, read)
        return Response(body, media_type=_JSON)

    @app.get("/healthz")
    async def health() -> Response:
        """Whether events can be taken and read; needs no key."""
        return await answer(lambda: b'{"status":"ok"}' if services.database.read("SELECT 1 AS ok", {}) else b"")

    @app.get("/v1/me")
    async def me(account: Caller) -> dict[str, str | bool | None]:
        """The account that the key belongs to; what it never told is null."""
        return {name: getattr(account, name) for name in Account.__slots__}

    @app.get("/v1/events")
    async def list_events(account: Caller, query: Annotated[events.EventQuery, Query()]) -> Response:
        """Events, newest first."""
        return await answer(lambda: events.page(services.database, account, query))

    @app.get("/v1/events/{event_id}")
    async def get_event(account: Caller, event_id: str) -> Response:
        """One event."""
        return await answer(lambda: events.one(services.database, account, event_id))

    @app.get("/v1/entities")
    async def list_entities(account: Caller, query: Annotated[events.EntityQuery, Query()]) -> Response:
        """What events are attributed to, the dearest first."""
        return await answer(lambda: events.entities(services.database, account, query))

    @app.get("/v1/analytics/costs")
    async def sum_costs(account: Caller, query: Annotated[costs.CostQuery, Query()]) -> Response:
        """What calls cost."""
        return await answer(lambda: costs.summary(services.database, account, query))
