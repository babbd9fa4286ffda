"""The routes of deletions and receipts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Final, NamedTuple, Self

from fastapi import Body, FastAPI, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from infraprism.backend.accounts import Account
from infraprism.backend.analytics.time_zones import EPOCH, MILLISECOND
from infraprism.backend.api import openapi, times
from infraprism.backend.api.authentication import Actor, AdminCaller, Caller
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.job_routes import JOB_SCHEMA, job_fields, job_response
from infraprism.backend.deletions import Deletions, Receipts, Scope
from infraprism.backend.deletions.account_deletion import CLOSED_PATH, AccountDeletions
from infraprism.backend.deletions.scope import Kind
from infraprism.backend.jobs import ConflictError, Job

_MAX_VALUE: Final = 256
_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
RECEIPT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "account_id", "deletion_id", "previous_hash", "hash"), _TEXT),
        "number": {"type": "integer"},
        "scope": {
            "type": "object",
            "properties": {"kind": _TEXT, "hash": _TEXT, "start": _MAYBE_TIME, "end": _MAYBE_TIME},
        },
        **dict.fromkeys(("requested_at", "completed_at", "not_in_backups_after"), _TIME),
        "counts": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"before": {"type": "integer"}, "after": {"type": "integer"}},
            },
        },
        "limits": {"type": "array", "items": _TEXT},
    },
}
"""A receipt. `counts` has the rows of the scope in each table before and after."""
_NOT_IN_A_CLUSTER: Final = "this server stores events in a cluster, where deletion is not supported yet"
_IDEMPOTENCY_KEY: Final = r"^[\x21-\x7e]{1,255}$"


class DeletionServices(NamedTuple):
    """What the routes need. Without `deletions` the store cannot delete events."""

    deletions: Deletions | None
    receipts: Receipts
    accounts: AccountDeletions | None = None


class DeletionRequest(BaseModel):
    """What is to be deleted: one entity, session or tag, or a period, or with `confirm` everything."""

    model_config = ConfigDict(extra="forbid")

    start_date: str | None = None
    end_date: str | None = None
    entity_type: str | None = Field(None, min_length=1, max_length=_MAX_VALUE)
    entity_id: str | None = Field(None, min_length=1, max_length=_MAX_VALUE)
    session_id: str | None = Field(None, min_length=1, max_length=_MAX_VALUE)
    tag_key: str | None = Field(None, min_length=1, max_length=_MAX_VALUE)
    tag_value: str | None = Field(None, min_length=1, max_length=_MAX_VALUE)
    confirm: str | None = Field(None, max_length=_MAX_VALUE)

    @model_validator(mode="after")
    def _is_one_scope(self) -> Self:
        for name, one, other in (
            ("entity_type", self.entity_type, self.entity_id),
            ("tag_key", self.tag_key, self.tag_value),
        ):
            if (one is None) != (other is None):
                raise ValueError(f"{name}: an entity has entity_type and entity_id, a tag has tag_key and tag_value")
        if sum(one is not None for one in (self.entity_id, self.session_id, self.tag_key)) > 1:
            raise ValueError("send one of an entity, a session and a tag: each has a request of its own")
        return self

    @property
    def scope(self) -> Scope:
        """The scope. Raises ApiError."""
        first_ms, end_ms = self._bounds()
        kind: Kind
        values: tuple[str, ...]
        if self.entity_type is not None and self.entity_id is not None:
            kind, values = "entity", (self.entity_type, self.entity_id)
        elif self.session_id is not None:
            kind, values = "session", (self.session_id,)
        elif self.tag_key is not None and self.tag_value is not None:
            kind, values = "tag", (self.tag_key, self.tag_value)
        else:
            kind, values = ("everything", ()) if first_ms is None and end_ms is None else ("date_range", ())
        if kind == "everything" and self.confirm != "everything":
            raise ApiError(
                400,
                "confirmation_required",
                "confirm: to delete all events of the account send confirm=everything; otherwise name a period, an"
                " entity, a session or a tag",
            )
        return Scope(kind=kind, values=values, first_ms=first_ms, end_ms=end_ms)

    def _bounds(self) -> tuple[int | None, int | None]:
        first_ms = self._milliseconds("start_date", self.start_date, is_end=False)
        end_ms = self._milliseconds("end_date", self.end_date, is_end=True)
        if first_ms is not None and end_ms is not None and first_ms >= end_ms:
            raise ApiError(400, "invalid_parameter", "end_date: it is before start_date")
        return first_ms, end_ms

    @staticmethod
    def _milliseconds(name: str, value: str | None, *, is_end: bool) -> int | None:
        if value is None:
            return None
        try:
            found = times.interval(value)
        except ValueError as error:
            raise ApiError(400, "invalid_parameter", f"{name}: {error}") from None
        # The last millisecond of a day or the time itself is deleted too.
        return (found.last - EPOCH + timedelta(milliseconds=1) if is_end else found.first - EPOCH) // MILLISECOND


class AccountDeletionRequest(BaseModel):
    """The confirmation: the id of the account."""

    model_config = ConfigDict(extra="forbid")

    confirm: str = Field(max_length=_MAX_VALUE)


def add_deletion_routes(
    app: FastAPI, services: DeletionServices, until_complete: Callable[[str], Awaitable[None]]
) -> None:
    """Add the routes. `until_complete` waits until the store has all acknowledged events of an account."""
    page = {"type": "object", "properties": {"data": {"type": "array", "items": RECEIPT_SCHEMA}}}

    _add_account_routes(app, services)

    @app.delete("/v1/data", responses=openapi.responses(202, JOB_SCHEMA, 409, 501), status_code=202)
    async def delete_data(  # the dependencies of the route
        account: AdminCaller,
        actor: Actor,
        query: Annotated[DeletionRequest, Query()],
        body: Annotated[DeletionRequest | None, Body()] = None,
        idempotency_key: Annotated[str | None, Header(pattern=_IDEMPOTENCY_KEY)] = None,
    ) -> Response:
        """Delete events, in the background: those of an entity, a session, a tag or a period, or everything.

        The scope is in the query string or in a JSON body. The job of the response ends with a receipt. Late events of
        the scope that start before the request are refused from now on.
        """
        if body is not None and query.model_fields_set:
            raise ApiError(400, "invalid_request", "send the scope in the query string or in the body, and not in both")
        # Otherwise acknowledged events could be refused as late ones, and be missing from the counts of the receipt.
        await until_complete(account.id)
        job = await asyncio.to_thread(_request, services, account, actor, body or query, idempotency_key)
        return job_response(job_fields(job), 202)

    @app.get("/v1/receipts", responses=openapi.responses(200, page))
    def list_receipts(account: Caller) -> Response:
        """The receipts of all deletions of the account, oldest first: a chain of hashes."""
        return job_response({"data": services.receipts.all(account.id)})

    @app.get("/v1/receipts/{receipt_id}", responses=openapi.responses(200, RECEIPT_SCHEMA, 404))
    def get_receipt(account: Caller, receipt_id: str) -> Response:
        """One receipt."""
        receipt = services.receipts.find(account.id, receipt_id)
        if receipt is None:
            raise ApiError(404, "not_found", "no such receipt in this account")
        return job_response(receipt)


def _add_account_routes(app: FastAPI, services: DeletionServices) -> None:
    accepted = {"type": "object", "properties": {"account_id": _TEXT, "receipt_path": _TEXT}}

    @app.delete("/v1/account", responses=openapi.responses(202, accepted, 501), status_code=202)
    def delete_account(account: AdminCaller, actor: Actor, body: AccountDeletionRequest) -> Response:
        """Delete the account and all its data, in the background. `confirm` is the id of the account.

        Its keys stop at once. `receipt_path` shows the receipt, without a key, for 30 days: keep it.
        """
        if body.confirm != account.id:
            raise ApiError(
                400, "confirmation_required", "confirm: to delete the account send its id, which `GET /v1/me` returns"
            )
        if services.accounts is None:
            raise ApiError(501, "not_supported", _NOT_IN_A_CLUSTER)
        token = services.accounts.request(account.id, actor=actor)
        return job_response({"account_id": account.id, "receipt_path": f"{CLOSED_PATH}/{token}"}, 202)

    @app.get(CLOSED_PATH + "/{token}", include_in_schema=False)
    def closed_account(token: str) -> Response:
        """The receipt of a deleted account; `state` is `running` until all is deleted."""
        found = services.accounts.find(token) if services.accounts is not None else None
        if found is None:
            raise ApiError(404, "not_found", "no such receipt: it is kept for 30 days")
        state = "running" if found.receipt is None else "succeeded"
        return job_response({"state": state, "receipt": found.receipt})


def _request(
    services: DeletionServices, account: Account, actor: str, request: DeletionRequest, idempotency_key: str | None
) -> Job:
    scope = request.scope
    if services.deletions is None:
        raise ApiError(501, "not_supported", _NOT_IN_A_CLUSTER)
    try:
        return services.deletions.request(account.id, scope, actor=actor, idempotency_key=idempotency_key)
    except ConflictError as error:
        raise ApiError(409, "conflict", str(error)) from None
