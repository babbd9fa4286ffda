"""Classifies the error of a failed call: one of a closed list of types, and the provider's code; never a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from infraprism.providers.error_names import CODES, GENERAL, error_type_of

OTHER: Final = "other"
MAX_NAME: Final = 200

TYPES_BY_STATUS: Final = {
    400: "invalid_request",
    401: "authentication",
    402: "permission",
    403: "permission",
    404: "not_found",
    408: "timeout",
    410: "not_found",
    429: "rate_limit",
    498: "rate_limit",
    499: "cancelled",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}
_FIRST_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_LAST_ERROR: Final = 599
_VAGUE: Final = frozenset({*GENERAL, OTHER, None})
_WITHOUT_RESPONSE: Final = frozenset({"timeout", "connection", "cancelled"})
"""Types that a message cannot have where the provider responded with a status: the message describes something else."""


def classify_error(
    name: str | None, http_status: int | None, exceptions: Iterable[str], messages: Iterable[str]
) -> tuple[str, str | None]:
    """The type, one of `infraprism.schema.fields.ERROR_TYPES`, and the code of an error, or None.

    `name` is the span's error.type, `http_status` its HTTP status code; `exceptions` are other names of the error, such
    as the classes of recorded exceptions; `messages` are searched for a status and for names of errors in known
    positions. More specific evidence has precedence: a name with a specific type, then one with an unspecific type,
    then the status.
    """
    from infraprism.providers.error_messages import name_in, status_in  # noqa: PLC0415 - most calls do not fail

    names = [known for known in (name, *exceptions) if known and len(known) <= MAX_NAME]
    searched = [*messages, *names]
    status = _error_status(http_status) or next(filter(None, map(_error_status, map(_digits, names))), None)
    if status is None:
        status = next(filter(None, map(status_in, searched)), None)
    error_type = next(filter(None, map(error_type_of, names)), None)
    if error_type in _VAGUE or status is None:
        names += filter(None, map(name_in, searched))
    if error_type in _VAGUE:
        ruled_out = _VAGUE if status is None else _VAGUE | _WITHOUT_RESPONSE
        specific = next((other for other in map(error_type_of, names) if other not in ruled_out), None)
        if error_type == "server_error" and status is not None and status < _SERVER_ERROR:
            error_type = None  # mistralai names any error `api_error`
        error_type = (
            specific or error_type or _by_status(status) or next(filter(None, map(error_type_of, names)), None) or OTHER
        )
    code = str(status) if status else next((lowered for n in names if (lowered := n.lower()) in CODES), None)
    return error_type or OTHER, code


def _by_status(status: int | None) -> str | None:
    if status is None:
        return None
    return TYPES_BY_STATUS.get(status) or ("server_error" if status >= _SERVER_ERROR else "invalid_request")


def _error_status(status: int | None) -> int | None:
    return status if status is not None and _FIRST_ERROR <= status <= _LAST_ERROR else None


def _digits(name: str) -> int | None:
    return int(name) if len(name) == len("429") and name.isascii() and name.isdigit() else None
