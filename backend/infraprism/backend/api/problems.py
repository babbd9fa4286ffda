"""The codes of errors, as problem types of RFC 9457. A page for each is at `/errors/CODE`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "/errors/"
"""A relative reference: each server has the pages."""
_NO_TYPE: Final = "about:blank"
"""Of a code that is not in the table. The title is then that of the status, as RFC 9457 requires."""


class Problem(NamedTuple):
    """A problem type: its title, and what the client can do."""

    title: str
    advice: str


PROBLEMS: Final = {
    "invalid_parameter": Problem("A parameter is not valid", "Correct the parameter that the detail names."),
    "unknown_parameter": Problem("A parameter does not exist", "Remove the parameter that the detail names."),
    "invalid_request": Problem("The request is not valid", "Correct the request as the detail says."),
    "unauthenticated": Problem("The request has no valid key", "Send `Authorization: Bearer ip-...`."),
    "forbidden": Problem("The key may not do this", "Use a key with the scope that the detail names."),
    "invalid_login": Problem("The email or the password is wrong", "Correct them, or request a new password."),
    "invalid_link": Problem("The link cannot be used", "Ask for a new link: it was used, replaced, or has expired."),
    "too_many_attempts": Problem("Too many attempts to log in", "Retry after `Retry-After`."),
    "overloaded": Problem("Too many logins at the same time", "Retry after `Retry-After`."),
    "unsupported_media_type": Problem("The body is not JSON", "Send content-type application/json."),
    "not_found": Problem("It does not exist", "Check the path and the id. An id of another account is not found."),
    "method_not_allowed": Problem("The path does not support the method", "Use a method of the header `Allow`."),
    "conflict": Problem("The request conflicts with another", "Read the detail; wait until the other one has ended."),
    "too_large": Problem("The request is too large", "Send a smaller body."),
    "headers_too_large": Problem("The headers are too large", "Send fewer or shorter headers."),
    "rate_limited": Problem("Too many requests a minute", "Retry after `X-RateLimit-Reset`."),
    "too_many_queries": Problem("Too many queries at the same time", "Retry after `Retry-After`."),
    "query_too_large": Problem("The query needs too much time or memory", "Narrow it, or retry after `Retry-After`."),
    "beyond_retention": Problem("The events of the period are expired", "Choose a later period, or whole UTC days."),
    "sums_unknown": Problem("The permanent sums of a day are damaged", "Choose another period, or restore a backup."),
    "store_unavailable": Problem("The store is unavailable", "Retry later."),
    "payment_unavailable": Problem("The payment service is unavailable", "Retry later."),
    "confirmation_required": Problem("A confirmation is missing", "Send `confirm` as the detail says."),
    "too_many_exports": Problem("The account has too many exports", "Wait until one has ended, or remove one."),
    "not_supported": Problem("This server does not support it", "Read the detail; a cluster has no such operation."),
    "wrong_region": Problem("The account is served in another region", "Use the server that the detail names."),
    "account_moving": Problem("The account is being moved", "Retry later."),
    "no_space": Problem("The disk of the server is nearly full", "Retry later; the operator must free space."),
    "internal_error": Problem("The server has failed", "Retry later, and report it if it remains."),
}
"""The problem types by code."""


def problem(status: int, code: str, message: str) -> dict[str, object]:
    """The body of an error response. `error` is the form of the versions before RFC 9457."""
    known = PROBLEMS.get(code)
    return {
        "type": _NO_TYPE if known is None else TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase if known is None else known.title,
        "status": status,
        "detail": message,
        "error": {"code": code, "message": message},
    }
