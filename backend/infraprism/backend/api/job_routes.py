"""The routes of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, ConfigDict

from infraprism.backend.api import openapi
from infraprism.backend.api.authentication import AdminCaller, Caller
from infraprism.backend.api.errors import ApiError
from infraprism.backend.jobs import ConflictError, Job, Jobs, Kind
from infraprism.schema import exact_json

_JSON: Final = "application/json"
_TEXT: Final = {"type": "string"}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
JOB_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "kind": _TEXT,
        "state": {"type": "string", "enum": ["queued", "running", "succeeded", "failed", "cancelled"]},
        "progress": {
            "type": "object",
            "properties": {"done": {"type": "integer"}, "total": {"type": ["integer", "null"]}},
        },
        "error": {"type": ["object", "null"], "properties": {"code": _TEXT, "message": _TEXT}},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": _MAYBE_TIME,
        "ended_at": _MAYBE_TIME,
        "expires_at": _MAYBE_TIME,
    },
}
"""A job. `error` of a job that has not ended is the cause for which it will be tried again."""


class JobQuery(BaseModel):
    """The parameters of the list of jobs."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None


def add_job_routes(app: FastAPI, jobs: Jobs, kinds: Mapping[str, Kind]) -> None:
    """Add the routes."""
    page = {"type": "object", "properties": {"data": {"type": "array", "items": JOB_SCHEMA}}}

    @app.get("/v1/jobs", responses=openapi.responses(200, page))
    def list_jobs(account: Caller, query: Annotated[JobQuery, Query()]) -> Response:
        """The jobs of the account, newest first. A job is kept for 30 days after its end."""
        with_state = [job for job in jobs.list(account.id) if query.state in (None, job.state)]
        return job_response({"data": [job_fields(job) for job in with_state]})

    @app.get("/v1/jobs/{job_id}", responses=openapi.responses(200, JOB_SCHEMA, 404))
    def get_job(account: Caller, job_id: str) -> Response:
        """One job."""
        return job_response(job_fields(found(jobs, account.id, job_id)))

    @app.delete("/v1/jobs/{job_id}", responses=openapi.responses(200, JOB_SCHEMA, 404, 409))
    def cancel_job(account: AdminCaller, job_id: str) -> Response:
        """Cancel a job that has not ended. A job that runs is `cancelled` some seconds later."""
        job = found(jobs, account.id, job_id)
        kind = kinds.get(job.kind)
        if kind is not None and not kind.is_cancellable:
            raise ApiError(409, "conflict", f"a job of the kind {job.kind} cannot be cancelled")
        try:
            cancelled = jobs.cancel(account.id, job_id)
        except ConflictError as error:
            raise ApiError(409, "conflict", str(error)) from None
        return job_response(job_fields(cancelled or job))


def found(jobs: Jobs, account_id: str, job_id: str, kind: str | None = None) -> Job:
    """A job of an account. Raises ApiError."""
    job = jobs.find(account_id, job_id)
    if job is None or kind not in (None, job.kind):
        raise ApiError(404, "not_found", "no such job in this account")
    return job


def job_fields(job: Job) -> dict[str, Any]:
    """A job as the API returns it."""
    error = None if job.error_code is None else {"code": job.error_code, "message": job.error_message}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": {"done": job.progress_done, "total": job.progress_total},
        "error": error,
        "created_at": iso_time(job.created_ms),
        "started_at": iso_time(job.started_ms),
        "ended_at": iso_time(job.ended_ms),
        "expires_at": iso_time(job.expires_ms),
    }


def iso_time(milliseconds: int | None) -> str | None:
    """A time as the API returns it."""
    if milliseconds is None:
        return None
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """A response with exact decimals."""
    return Response(exact_json.dumps(body), status, media_type=_JSON)
