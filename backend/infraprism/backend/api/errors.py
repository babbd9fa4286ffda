"""Error responses of the REST API: problem details of RFC 9457, with `{"error": {"code", "message"}}` as one member."""

from __future__ import annotations

import json
import logging
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from infraprism.backend.accounts.errors import Reason, RefusedError
from infraprism.backend.api.problems import MEDIA_TYPE, problem
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates import UnknownSumsError
from infraprism.backend.store.database import MAX_QUERY_BYTES, MAX_QUERY_S

MAX_BODY_BYTES = 2**20
"""Of a REST request."""
_log = logging.getLogger(__name__)
_RETRY_AFTER_S = 5
_TOO_LARGE_CODES = frozenset({159, 160, 241})
"""The engine's codes for a query that exceeds its limits of time and memory."""
_NOT_JSON = "json_invalid"
_BY_STATUS = {
    400: ("invalid_request", "the body of the request cannot be read"),
    404: ("not_found", "no such path: the paths are listed in docs/api.md"),
    405: ("method_not_allowed", "this path does not support that method"),
    413: ("too_large", f"the body is too large: at most {MAX_BODY_BYTES >> 10} KiB"),
}
_REFUSALS: Final[dict[Reason, tuple[int, str]]] = {
    "invalid": (400, "invalid_parameter"),
    "invalid_link": (400, "invalid_link"),
    "invalid_login": (401, "invalid_login"),
    "forbidden": (403, "forbidden"),
    "not_found": (404, "not_found"),
    "conflict": (409, "conflict"),
    "too_many_attempts": (429, "too_many_attempts"),
}


class ApiError(Exception):
    """A request that is answered with an error response."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s


def error_response(status: int, code: str, message: str) -> Response:
    """An error response."""
    return Response(json.dumps(problem(status, code, message)).encode(), status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Use this format for every error of the application."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(DatabaseUnavailableError, _database)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(Exception, _failed)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    response = error_response(error.status, error.code, error.message)
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == _NOT_JSON:
        return error_response(400, "invalid_request", "the body is not JSON")
    name = str(first["loc"][-1]) if len(first["loc"]) > 1 else "parameters"
    if first["type"] == "extra_forbidden":
        return error_response(400, "unknown_parameter", f"{_parameter_name(name)}: no such parameter")
    name = str(first["loc"][1]) if len(first["loc"]) > 1 else name
    return error_response(400, "invalid_parameter", f"{name}: {_message(first)}")


def _message(error: dict[str, object]) -> str:
    # The messages of the validators contain our bounds and never the value that was sent.
    return str(error["msg"]).removeprefix("Value error, ")


def _parameter_name(name: str) -> str:
    return name if len(name) <= 64 and name.isascii() and name.isprintable() else "parameters"  # noqa: PLR2004


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = _BY_STATUS.get(error.status_code, ("invalid_request", "the request cannot be processed"))
    response = error_response(error.status_code, code, message)
    response.headers.update(error.headers or {})  # Allow
    return response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    status, code = _REFUSALS[error.reason]
    response = error_response(status, code, error.message)
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


async def _database(_: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseUnavailableError)
    _log.warning("the database of the accounts failed: %s", error)
    return error_response(503, "store_unavailable", "the accounts cannot be read: try again later")


async def _failed(_: Request, __: Exception) -> Response:
    return error_response(500, "internal_error", "the server has failed: try again later")


async def _store(_: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)
    if isinstance(error, UnknownSumsError):
        return error_response(
            503,
            "sums_unknown",
            f"the sums of {error.days} are damaged and their events are deleted: choose a period without these days,"
            " or restore a backup",
        )
    if error.code in _TOO_LARGE_CODES:
        # 503, since the load of other queries may have caused it.
        limits = f"{MAX_QUERY_S} s or {MAX_QUERY_BYTES >> 20} MB"
        response = error_response(
            503, "query_too_large", f"the query needed more than {limits}: narrow it, or try again later"
        )
        response.headers["retry-after"] = str(_RETRY_AFTER_S)
        return response
    _log.warning("a query failed: engine code %d", error.code)
    return error_response(503, "store_unavailable", "the store is unavailable: try again later")
