"""The HTTP application: OTLP/HTTP and the REST API on one port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from fastapi import FastAPI, Query, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.api import errors, events, health, openapi
from infraprism.backend.api.account_routes import add_account_routes
from infraprism.backend.api.analytics_routes import add_analytics_routes, add_listing_routes
from infraprism.backend.api.audit_routes import add_audit_routes
from infraprism.backend.api.auth_routes import AuthRoutes, add_auth_routes
from infraprism.backend.api.authentication import AuthenticationMiddleware, Caller
from infraprism.backend.api.client_address import ClientAddresses
from infraprism.backend.api.deletion_routes import DeletionServices, add_deletion_routes
from infraprism.backend.api.export_routes import ExportServices, add_export_routes
from infraprism.backend.api.job_routes import add_job_routes
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.api.pages import add_pages
from infraprism.backend.api.periods import Reader
from infraprism.backend.api.query_pool import QueryPool
from infraprism.backend.api.session_cookie import SessionCookie
from infraprism.backend.api.usage_routes import add_retention_routes, add_usage_routes
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.cluster.cluster_writer import PATH as FROM_NODE_PATH
from infraprism.backend.ingest import over_http
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.jobs import Jobs, Kind
from infraprism.backend.limits import Limits
from infraprism.backend.moves.target import PATH as MOVE_PATH
from infraprism.backend.regions import NO_REGIONS, Regions
from infraprism.backend.request_framing import BodyLimitMiddleware, RequestFramingMiddleware
from infraprism.backend.retention import Retention
from infraprism.backend.store import Database
from infraprism.backend.usage_data import UsageData
from infraprism.backend.usage_data.middleware import UsageMiddleware

if TYPE_CHECKING:
    from infraprism.backend.billing.billing import Billing

_EXPORT_PATH: Final = "/v1/traces"
_JSON: Final = "application/json"
_ONLY_TRACES: Final = (
    "only traces are accepted, at /v1/traces: an InfraPrism event is sent as a span, not as a log record or a metric"
)


class Services(NamedTuple):
    """The dependencies of the application.

    `queries` runs blocking queries; `measured_rows` is what analytics read; `from_node` handles a request of another
    node of the cluster. Without `retention` no event expires. `jobs` are the jobs of all accounts, and `kinds` the
    kinds that this server runs. `client_addresses` finds the address that limits logins. `base_url` is where browsers
    reach the server. Accounts of other `regions` are refused; `from_region` handles
    a request of the server of another region.
    """

    accounts: Accounts
    database: Database
    receiver: Receiver
    queries: QueryPool
    health: health.Health
    limits: Limits
    logins: Logins
    login_pool: LoginPool
    measured_rows: Source = measured_rows
    from_node: Callable[[Request], Awaitable[Response]] | None = None
    retention: Retention | None = None
    jobs: Jobs | None = None
    kinds: Mapping[str, Kind] = MappingProxyType({})
    client_addresses: ClientAddresses = ClientAddresses()
    base_url: str = ""
    billing: Billing | None = None
    exports: ExportServices | None = None
    deletions: DeletionServices | None = None
    usage: UsageData | None = None
    regions: Regions = NO_REGIONS
    from_region: Callable[[Request], Awaitable[Response]] | None = None


def application(services: Services) -> ASGIApp:
    """The application with all routes."""
    return _Application(_rest_application(services), services)


class _Application:
    """Calls the handler of OTLP/HTTP directly: the layers of the REST API take longer than a small request."""

    def __init__(self, rest: ASGIApp, services: Services) -> None:
        self._rest = rest
        self._services = services
        self._export = RequestFramingMiddleware(self._handle_export, services.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_export = scope["type"] == "http" and scope["path"] == _EXPORT_PATH and scope["method"] == "POST"
        await (self._export if is_export else self._rest)(scope, receive, send)

    async def _handle_export(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await over_http.export(request, self._services.receiver, self._services.limits)
        await response(scope, receive, send)


def _rest_application(services: Services) -> FastAPI:
    app = FastAPI(title="InfraPrism", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    errors.install(app)
    app.add_middleware(BodyLimitMiddleware)
    if services.usage is not None:
        app.add_middleware(UsageMiddleware, usage=services.usage)
    app.add_middleware(AuthenticationMiddleware, accounts=services.accounts, regions=services.regions)
    app.add_middleware(RequestFramingMiddleware, limits=services.limits)
    health.install(app, services.health)
    _add_otlp_routes(app)
    _add_rest_routes(app, services)
    add_pages(app)
    openapi.install(app)
    if services.from_node is not None:
        app.add_route(FROM_NODE_PATH, services.from_node, methods=["POST"], include_in_schema=False)
    if services.from_region is not None:
        app.add_route(MOVE_PATH, services.from_region, methods=["GET", "POST", "DELETE"], include_in_schema=False)
    return app


def _add_otlp_routes(app: FastAPI) -> None:
    @app.post(_EXPORT_PATH, include_in_schema=False)
    async def traces() -> Response:
        """Only for the 405 of other methods: `_Application` handles this path."""
        return Response(status_code=404)

    @app.post("/v1/logs", include_in_schema=False)
    @app.post("/v1/metrics", include_in_schema=False)
    async def unsupported_signal() -> Response:
        return errors.error_response(404, "not_found", _ONLY_TRACES)


def _add_rest_routes(app: FastAPI, services: Services) -> None:
    cursor_key = services.accounts.secret("cursor")

    async def respond(account: Account, query: Callable[[Reader], bytes]) -> Response:
        def answer() -> bytes:
            cutoff_ms = None if services.retention is None else services.retention.cutoff_ms(account.id)
            reader = Reader.of(
                services.database, services.measured_rows, account.id, cutoff_ms, reporting_zone=account.time_zone
            )
            return query(reader)

        return Response(await services.queries.run(account.id, answer), media_type=_JSON)

    @app.get("/v1/events")
    async def list_events(account: Caller, query: Annotated[events.EventQuery, Query()]) -> Response:
        """Events, newest first."""
        return await respond(account, lambda reader: events.page(reader, account, query, cursor_key))

    @app.get("/v1/events/{event_id}")
    async def get_event(account: Caller, event_id: str) -> Response:
        """One event."""
        return await respond(account, lambda reader: events.one(reader, account, event_id))

    @app.get("/v1/entities")
    async def list_entities(account: Caller, query: Annotated[events.EntityQuery, Query()]) -> Response:
        """The entities that events are attributed to, highest cost first."""
        return await respond(account, lambda reader: events.entities(reader, query))

    cookie = SessionCookie(services.base_url)
    add_account_routes(app, services.accounts, services.logins)
    add_auth_routes(app, AuthRoutes(services.logins, services.login_pool, cookie, services.client_addresses))
    add_analytics_routes(app, respond)
    add_listing_routes(app, respond)
    audit = AuditLog(services.accounts.database)
    _add_data_routes(app, services, audit)
    if services.deletions is not None:
        add_deletion_routes(app, services.deletions, services.queries.wait_until_complete)
    if services.jobs is not None:
        add_job_routes(app, services.jobs, services.kinds)
    if services.billing is not None:
        from infraprism.backend.api.billing_routes import add_billing_routes  # noqa: PLC0415 - an extra package

        add_billing_routes(app, services.billing, services.base_url)
    add_audit_routes(app, audit)
    if services.exports is not None:
        add_export_routes(app, services.exports, services.queries.run)


def _add_data_routes(app: FastAPI, services: Services, audit: AuditLog) -> None:
    if services.usage is not None:
        add_usage_routes(app, services.usage, audit)
    if services.retention is not None:
        add_retention_routes(app, services.retention, audit)
