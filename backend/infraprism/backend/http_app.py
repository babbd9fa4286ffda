"""The HTTP application: OTLP/HTTP and the REST API on one port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, FastAPI, Query, Request, Response

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.api import costs, errors, events, health
from infraprism.backend.api.authentication import AuthenticationMiddleware, authenticated_account
from infraprism.backend.api.query_pool import QueryPool
from infraprism.backend.cluster.cluster_writer import PATH as FROM_NODE_PATH
from infraprism.backend.ingest import over_http
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.limits import Limits
from infraprism.backend.request_framing import RequestFramingMiddleware
from infraprism.backend.store import Database

_JSON: Final = "application/json"
_ONLY_TRACES: Final = (
    "only traces are accepted, at /v1/traces: an InfraPrism event is sent as a span, not as a log record or a metric"
)
Caller = Annotated[Account, Depends(authenticated_account)]


class Services(NamedTuple):
    """The dependencies of the application. `queries` runs blocking queries.

    `from_node` handles a request of another node of the cluster.
    """

    accounts: Accounts
    database: Database
    receiver: Receiver
    queries: QueryPool
    health: health.Health
    limits: Limits
    from_node: Callable[[Request], Awaitable[Response]] | None = None


def application(services: Services) -> FastAPI:
    """The application with all routes."""
    app = FastAPI(title="InfraPrism", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    errors.install(app)
    app.add_middleware(AuthenticationMiddleware, accounts=services.accounts)
    app.add_middleware(RequestFramingMiddleware, limits=services.limits)
    health.install(app, services.health)
    _add_otlp_routes(app, services)
    _add_rest_routes(app, services)
    if services.from_node is not None:
        app.add_route(FROM_NODE_PATH, services.from_node, methods=["POST"], include_in_schema=False)
    return app


def _add_otlp_routes(app: FastAPI, services: Services) -> None:
    @app.post("/v1/traces", include_in_schema=False)
    async def traces(request: Request) -> Response:
        return await over_http.export(request, services.receiver, services.limits)

    @app.post("/v1/logs", include_in_schema=False)
    @app.post("/v1/metrics", include_in_schema=False)
    async def unsupported_signal() -> Response:
        return errors.error_response(404, "not_found", _ONLY_TRACES)


def _add_rest_routes(app: FastAPI, services: Services) -> None:
    cursor_key = services.accounts.secret("cursor")

    async def respond(account: Account, query: Callable[[], bytes]) -> Response:
        return Response(await services.queries.run(account.id, query), media_type=_JSON)

    @app.get("/v1/me")
    async def me(account: Caller) -> dict[str, str | bool | None]:
        """The account of the key. Values that are not set are null."""
        return {name: getattr(account, name) for name in Account.__slots__}

    @app.get("/v1/events")
    async def list_events(account: Caller, query: Annotated[events.EventQuery, Query()]) -> Response:
        """Events, newest first."""
        return await respond(account, lambda: events.page(services.database, account, query, cursor_key))

    @app.get("/v1/events/{event_id}")
    async def get_event(account: Caller, event_id: str) -> Response:
        """One event."""
        return await respond(account, lambda: events.one(services.database, account, event_id))

    @app.get("/v1/entities")
    async def list_entities(account: Caller, query: Annotated[events.EntityQuery, Query()]) -> Response:
        """The entities that events are attributed to, highest cost first."""
        return await respond(account, lambda: events.entities(services.database, account, query))

    @app.get("/v1/analytics/costs")
    async def sum_costs(account: Caller, query: Annotated[costs.CostQuery, Query()]) -> Response:
        """Sums of cost and tokens, optionally grouped."""
        return await respond(account, lambda: costs.summary(services.database, account, query))
