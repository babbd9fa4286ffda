"""The routes of exports, and the download links."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple

from fastapi import FastAPI, Header, Response
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import FileResponse

from infraprism.backend.accounts import Account
from infraprism.backend.api import openapi
from infraprism.backend.api.authentication import Actor, AdminCaller, Caller
from infraprism.backend.api.errors import ApiError, error_response
from infraprism.backend.api.export_request import ExportRequest
from infraprism.backend.api.job_routes import JOB_SCHEMA, found, iso_time, job_fields, job_response
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.exports.export_files import ExportFiles
from infraprism.backend.exports.export_kind import ARCHIVE, EXPORT, ExportKind, file_expires_ms
from infraprism.backend.exports.formats import MEDIA_TYPES
from infraprism.backend.exports.links import LIFETIME_S, Link
from infraprism.backend.jobs import ConflictError, Job, Jobs
from infraprism.backend.store import Database
from infraprism.schema import exact_json

MAX_RUNNING: Final = 5
MAX_KEPT: Final = 50
"""Exports of an account whose file is kept."""
DOWNLOADS: Final = "/downloads/"
_CONFLICTING: Final = frozenset({"deletion", "account_move"})
"""The kinds of jobs of an account during which its events cannot be exported."""
_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_MAYBE_COUNT: Final = {"type": ["integer", "null"]}
_MAYBE_OBJECT: Final = {"type": ["object", "null"]}
_EXPORT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **JOB_SCHEMA["properties"],
        "request": {"type": "object"},
        "rows": {"type": "integer"},
        "bytes": _MAYBE_COUNT,
        "sha256": _MAYBE_TEXT,
        "totals": _MAYBE_OBJECT,
        "file_name": _MAYBE_TEXT,
        "link": _MAYBE_TEXT,
        "link_expires_at": {**_MAYBE_TEXT, "format": "date-time"},
        "file_expires_at": {**_MAYBE_TEXT, "format": "date-time"},
    },
}
_IDEMPOTENCY_KEY: Final = r"^[\x21-\x7e]{1,255}$"


class ExportServices(NamedTuple):
    """The dependencies of the routes. `link_key` signs download links; `clock` returns Unix seconds."""

    jobs: Jobs
    kind: ExportKind
    files: ExportFiles
    audit: AuditLog
    database: Database
    link_key: bytes
    clock: Callable[[], float] = time.time
    node_address: str = ""
    """The URL at which this server is reached, if there are several: only it has the files of its exports."""


def add_export_routes(
    app: FastAPI, services: ExportServices, run: Callable[[str, Callable[[], bytes]], Awaitable[bytes]]
) -> None:
    """Add the routes. `run` runs a function when the store has all acknowledged events of an account."""

    @app.post("/v1/exports", responses=openapi.responses(202, _EXPORT_SCHEMA, 409, 507), status_code=202)
    async def create_export(
        account: AdminCaller,
        actor: Actor,
        body: ExportRequest,
        idempotency_key: Annotated[str | None, Header(pattern=_IDEMPOTENCY_KEY)] = None,
    ) -> Response:
        """Export the events of a period to a file.

        The response is a job. The file is complete when its state is `succeeded`. A repeated request with the same
        `Idempotency-Key` and the same body has the same job.
        """
        created = await run(account.id, lambda: _create(services, account, actor, body, idempotency_key))
        return Response(created, 202, media_type="application/json")

    @app.get(
        "/v1/exports",
        responses=openapi.responses(
            200, {"type": "object", "properties": {"data": {"type": "array", "items": _EXPORT_SCHEMA}}}
        ),
    )
    def list_exports(account: Caller, actor: Actor) -> Response:
        """The exports of the account, newest first."""
        jobs = services.jobs.list(account.id, EXPORT)
        return job_response({"data": [_fields(services, job, actor) for job in jobs]})

    @app.get("/v1/exports/{export_id}", responses=openapi.responses(200, _EXPORT_SCHEMA, 404))
    def get_export(account: Caller, actor: Actor, export_id: str) -> Response:
        """One export. When it has succeeded, with a new link to download the file, which is valid for an hour."""
        return job_response(_fields(services, found(services.jobs, account.id, export_id, EXPORT), actor))

    @app.delete("/v1/exports/{export_id}", responses=openapi.responses(200, _EXPORT_SCHEMA, 404))
    def remove_export(account: AdminCaller, actor: Actor, export_id: str) -> Response:
        """Cancel an export that has not ended, or remove one that has, with its file."""
        job = found(services.jobs, account.id, export_id, EXPORT)
        try:
            job = services.jobs.cancel(account.id, job.id) or job
        except ConflictError:
            services.files.remove(account.id, job.id)
            services.jobs.remove_job(account.id, job.id)
        return job_response(_fields(services, job, actor))

    @app.api_route(DOWNLOADS + "{token}", methods=["GET", "HEAD"], include_in_schema=False)
    def download(token: str, request: Request) -> Response:
        """The file of a link. It needs no key, and can be continued with `Range`."""
        return _download(services, token, request)


def _create(
    services: ExportServices, account: Account, actor: str, body: ExportRequest, idempotency_key: str | None
) -> bytes:
    status = services.database.status()
    if status.free_bytes <= status.reserve_bytes:
        raise ApiError(507, "no_space", "the disk of the server is nearly full: try again later")

    def on_new(connection: Connection, new: Job) -> None:
        others = [job for job in services.jobs.list(account.id, connection=connection) if job.id != new.id]
        running = [job for job in others if not job.is_final]
        if any(job.kind in _CONFLICTING for job in running):
            raise ApiError(409, "conflict", "data of the account is being deleted or moved: export when that has ended")
        exports = [job for job in others if job.kind == EXPORT]
        if sum(not job.is_final for job in exports) >= MAX_RUNNING:
            raise ApiError(409, "too_many_exports", f"{MAX_RUNNING} exports of the account have not ended: wait")
        if sum(services.kind.has_file(job) for job in exports) >= MAX_KEPT:
            raise ApiError(409, "too_many_exports", f"{MAX_KEPT} exports of the account are kept: delete one")
        services.audit.append(account.id, actor, "export.created", new.id, connection=connection)

    parameters = body.parameters(usage_detail=account.usage_detail)
    try:
        job = services.jobs.add(
            account.id, EXPORT, parameters, actor=actor, idempotency_key=idempotency_key, on_new=on_new
        )
    except ConflictError as error:
        raise ApiError(409, "conflict", str(error)) from None
    return exact_json.dumps(_fields(services, job, actor)).encode()


def _fields(services: ExportServices, job: Job, actor: str) -> Mapping[str, Any]:
    """An export as the API returns it."""
    shown = {name: value for name, value in job.parameters.items() if name not in ("first_ms", "end_ms", "filters")}
    result = job.result or {}
    link, link_expires_ms, file_expires = None, None, None
    # Only the key that requested an archive gets its link: it has the members of the account.
    if services.kind.has_file(job) and (job.parameters["kind"] != ARCHIVE or job.actor == actor):
        expires_s = min(int(services.clock()) + LIFETIME_S, file_expires_ms(job) // 1000)
        link = (
            services.node_address + DOWNLOADS + Link(job.account_id, job.id, actor, expires_s).token(services.link_key)
        )
        link_expires_ms, file_expires = expires_s * 1000, file_expires_ms(job)
    return {
        **job_fields(job),
        "request": {**shown, **job.parameters["filters"]},
        "rows": job.progress_done,
        "bytes": result.get("bytes"),
        "sha256": result.get("sha256"),
        "totals": result.get("totals"),
        "file_name": file_name(job) if result else None,
        "link": link,
        "link_expires_at": iso_time(link_expires_ms),
        "file_expires_at": iso_time(file_expires),
    }


def file_name(job: Job) -> str:
    """The name under which the file of an export is downloaded. It has no value of the data."""
    extension = (job.result or {}).get("extension", "")
    return f"infraprism-{job.parameters['kind']}-{job.id.removeprefix('job_')[:8]}.{extension}"


def _download(services: ExportServices, token: str, request: Request) -> Response:
    link = Link.read(token, services.link_key, services.clock())
    job = None if link is None else services.jobs.find(link.account_id, link.job_id)
    if link is None or job is None or job.kind != EXPORT or not services.kind.has_file(job):
        return _no_file()
    result = job.result or {}
    path = services.files.path(job.account_id, job.id, result["extension"])
    if not path.is_file():
        return _no_file()
    # The requests that continue a download are not recorded again.
    if request.method == "GET" and request.headers.get("range", "bytes=0-").startswith("bytes=0-"):
        services.audit.append(job.account_id, link.actor, "export.downloaded", job.id)
    return FileResponse(
        path,
        media_type=MEDIA_TYPES[result["extension"]],
        filename=file_name(job),
        headers={
            "etag": f'"{result["sha256"]}"',
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        },
    )


def _no_file() -> Response:
    response = error_response(
        404, "not_found", "the link is not valid or has expired: GET /v1/exports/{id} has a new one"
    )
    response.headers["cache-control"] = "no-store"
    return response
