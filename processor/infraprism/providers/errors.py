"""Why a call failed, as one of a closed list of types, and the provider's code for it; never a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from infraprism.providers.error_names import CODES, GENERAL, kind_of

OTHER: Final = "other"
MAX_NAME: Final = 200

STATUSES: Final = {
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
_UNANSWERED: Final = frozenset({"timeout", "connection", "cancelled"})
"""Kinds that a text does not tell of a provider that answered with a status: it is about something else then."""


def error_of(
    name: str | None, http_status: int | None, exceptions: Iterable[str], texts: Iterable[str]
) -> tuple[str, str | None]:
    """The error's type and code.

    `name` is the span's error.type, `http_status` its HTTP status code; `exceptions` are other names of the error, such
    as the classes of recorded exceptions, `texts` are messages, which are searched for a status and for names of
    errors where they stand in a known wording. What says more is believed first: a name that tells the kind, wherever
    it stands, then one that tells it roughly, then the status.
    """
    from infraprism.providers.error_texts import name_in, status_in  # noqa: PLC0415 - most calls do not fail

    names = [known for known in (name, *exceptions) if known and len(known) <= MAX_NAME]
    told = [*texts, *names]
    status = _error_status(http_status) or next(filter(None, map(_error_status, map(_digits, names))), None)
    if status is None:
        status = next(filter(None, map(status_in, told)), None)
    kind = next(filter(None, map(kind_of, names)), None)
    if kind in _VAGUE or status is None:
        names += filter(None, map(name_in, told))
    if kind in _VAGUE:
        ruled_out = _VAGUE if status is None else _VAGUE | _UNANSWERED
        exact = next((more for more in map(kind_of, names) if more not in ruled_out), None)
        if kind == "server_error" and status is not None and status < _SERVER_ERROR:
            kind = None  # mistralai calls any error `api_error`
        kind = exact or kind or _by_status(status) or next(filter(None, map(kind_of, names)), None) or OTHER
    code = str(status) if status else next((lowered for n in names if (lowered := n.lower()) in CODES), None)
    return kind or OTHER, code


def _by_status(status: int | None) -> str | None:
    if status is None:
        return None
    return STATUSES.get(status) or ("server_error" if status >= _SERVER_ERROR else "invalid_request")


def _error_status(status: int | None) -> int | None:
    return status if status is not None and _FIRST_ERROR <= status <= _LAST_ERROR else None


def _digits(name: str) -> int | None:
    return int(name) if len(name) == len("429") and name.isascii() and name.isdigit() else None
