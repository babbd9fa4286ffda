"""Why a call failed, as one of a closed list of types, and the provider's code for it; never a text.

An error is named in many spellings: `openai.RateLimitError`, `RateLimitError`, `rate_limit_error`, `429`. Names are
compared after case, underscores, the module and the ending "Error" or "Exception" are taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

OTHER: Final = "other"
MAX_NAME: Final = 200

# A provider's own codes. Only these can become an error code: a text that looks like a code is not one.
CODES: Final = {
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_reached": "rate_limit",
    "insufficient_quota": "rate_limit",
    "resource_exhausted": "rate_limit",
    "too_many_requests": "rate_limit",
    "throttling_error": "rate_limit",
    "invalid_request_error": "invalid_request",
    "invalid_request": "invalid_request",
    "invalid_argument": "invalid_request",
    "failed_precondition": "invalid_request",
    "invalid_prompt": "invalid_request",
    "invalid_value": "invalid_request",
    "invalid_type": "invalid_request",
    "unsupported_parameter": "invalid_request",
    "unsupported_value": "invalid_request",
    "unknown_parameter": "invalid_request",
    "missing_required_parameter": "invalid_request",
    "bad_request": "invalid_request",
    "bad_request_error": "invalid_request",
    "request_too_large": "invalid_request",
    "validation_error": "invalid_request",
    "invalid_image": "invalid_request",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "unauthorized": "authentication",
    "unauthenticated": "authentication",
    "permission_error": "permission",
    "permission_denied": "permission",
    "forbidden": "permission",
    "billing_error": "permission",
    "insufficient_balance": "permission",
    "not_found_error": "not_found",
    "not_found": "not_found",
    "model_not_found": "not_found",
    "deployment_not_found": "not_found",
    "deploymentnotfound": "not_found",
    "timeout": "timeout",
    "timeout_error": "timeout",
    "deadline_exceeded": "timeout",
    "connection_error": "connection",
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "content_filter_error": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "engine_overloaded": "overloaded",
    "unavailable": "overloaded",
    "service_unavailable": "overloaded",
    "slow_down": "overloaded",
    "api_error": "server_error",
    "server_error": "server_error",
    "internal_error": "server_error",
    "internal_server_error": "server_error",
    "internal": "server_error",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}

# Ends of class names, longer ones first.
CLASSES: Final = (
    ("contextwindowexceeded", "context_length"),
    ("contextlengthexceeded", "context_length"),
    ("contextoverflow", "context_length"),
    ("contentpolicyviolation", "content_filter"),
    ("contentfilterfinishreason", "content_filter"),
    ("contentfilter", "content_filter"),
    ("ratelimit", "rate_limit"),
    ("ratelimitexceeded", "rate_limit"),
    ("toomanyrequests", "rate_limit"),
    ("throttling", "rate_limit"),
    ("throttled", "rate_limit"),
    ("resourceexhausted", "rate_limit"),
    ("quotaexceeded", "rate_limit"),
    ("authentication", "authentication"),
    ("unrecognizedclient", "authentication"),
    ("expiredtoken", "authentication"),
    ("invalidtoken", "authentication"),
    ("nocredentials", "authentication"),
    ("unauthorized", "authentication"),
    ("unauthenticated", "authentication"),
    ("permissiondenied", "permission"),
    ("accessdenied", "permission"),
    ("forbidden", "permission"),
    ("modelnotfound", "not_found"),
    ("resourcenotfound", "not_found"),
    ("notfound", "not_found"),
    ("unprocessableentity", "invalid_request"),
    ("requesttoolarge", "invalid_request"),
    ("invalidrequest", "invalid_request"),
    ("invalidargument", "invalid_request"),
    ("badrequest", "invalid_request"),
    ("responsevalidation", "other"),  # the client could not read the answer: nobody's request was wrong
    ("validation", "invalid_request"),
    ("conflict", "invalid_request"),
    ("deadlineexceeded", "timeout"),
    ("timedout", "timeout"),
    ("timeout", "timeout"),
    ("serviceunavailable", "overloaded"),
    ("overloaded", "overloaded"),
    ("modelnotready", "overloaded"),
    ("internalserver", "server_error"),
    ("internalfailure", "server_error"),
    ("badgateway", "server_error"),
    ("connectionreset", "connection"),
    ("connectionrefused", "connection"),
    ("connectionaborted", "connection"),
    ("remoteprotocol", "connection"),
    ("connection", "connection"),
    ("connect", "connection"),
    ("connector", "connection"),
    ("disconnected", "connection"),
    ("servicerequest", "connection"),
    ("brokenpipe", "connection"),
    ("gai", "connection"),  # gaierror, without its ending
    ("cancelled", "cancelled"),
    ("canceled", "cancelled"),
    ("abort", "cancelled"),
    ("keyboardinterrupt", "cancelled"),
    ("generatorexit", "cancelled"),
    ("clientclosedrequest", "cancelled"),
)

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

_ENDING: Final = re.compile(r"(?:_?error|exception)$")
# The wordings of the openai and anthropic packages, in Python, for Node, Java and .NET, of Pydantic AI, cohere, ollama
# and mistralai; of google-genai and of Azure. Only the digits are taken; the text goes nowhere.
STATUS_WORDINGS: Final = (
    *(r"Error code: ", r"status_code: ", r"HTTP ", r"Status: "),
    *(r"status code: ", r"API error occurred: Status "),
)
STATUS_FIRST: Final = r"(?:[A-Za-z_][A-Za-z0-9_.]{0,80}: )?[(]?([45][0-9]{2})[)]?(?:: | (?:[A-Z{\"']|status code))"
_STATUS_IN_TEXT: Final = re.compile(
    r"(?:^|[\s:('\"])(?:" + "|".join(STATUS_WORDINGS) + rf")([45][0-9]{{2}})(?![0-9])|^{STATUS_FIRST}"
)
_TEXT_LOOKED_AT: Final = 2000

WORDED: Final = {
    401: ("Incorrect API key provided", "You didn't provide an API key", "invalid x-api-key", "Unauthorized"),
    403: ("Forbidden",),
    404: ("The model `", "Not Found"),
    429: (
        *("Rate limit reached for ", "Request too large for ", "You exceeded your current quota", "Too Many Requests"),
        *("This request would exceed ", "Resource has been exhausted", "Number of request tokens has exceeded "),
    ),
    500: ("The server had an error while processing your request", "Internal Server Error"),
    503: ("The model is overloaded", "Service Unavailable"),
    529: ("Overloaded",),
}
"""How the messages of providers begin that go with a status, and HTTP's own words for it.

The AI SDK up to version 6 writes a message and no status. That a message begins so is all that is looked at.
"""
RETRIED: Final = r"(?:Failed after [0-9]+ attempts[.] Last error: )?"
_WORDED: Final = tuple(
    (status, re.compile(RETRIED + "(?:" + "|".join(map(re.escape, beginnings)) + ")"))
    for status, beginnings in WORDED.items()
)


def error_of(
    name: str | None, http_status: int | None, exceptions: Iterable[str], texts: Iterable[str]
) -> tuple[str, str | None]:
    """The error's type and code.

    `name` is the span's error.type, `http_status` its HTTP status code; `exceptions` are other names of the error, such
    as the classes of recorded exceptions, `texts` are messages that may have a status code in a known wording: they
    are read for its digits only, and only where no status is known.
    """
    names = [known for known in (name, *exceptions) if known and len(known) <= MAX_NAME]
    status = _error_status(http_status) or next(filter(None, map(_error_status, map(_digits, names))), None)
    if status is None:
        status = next(filter(None, map(status_in, texts)), None)
    kind = next(filter(None, map(_by_name, names)), None) or _by_status(status) or OTHER
    code = str(status) if status else next((lowered for n in names if (lowered := n.lower()) in CODES), None)
    return kind, code


@lru_cache(maxsize=512)
def _by_name(name: str) -> str | None:
    lowered = name.lower()
    if lowered in CODES:
        return CODES[lowered]
    plain = _ENDING.sub("", lowered.rpartition(".")[2]).replace("_", "")
    return next((kind for ending, kind in CLASSES if plain.endswith(ending)), None)


def _by_status(status: int | None) -> str | None:
    if status is None:
        return None
    return STATUSES.get(status) or ("server_error" if status >= _SERVER_ERROR else "invalid_request")


def _error_status(status: int | None) -> int | None:
    return status if status is not None and _FIRST_ERROR <= status <= _LAST_ERROR else None


def _digits(name: str) -> int | None:
    return int(name) if len(name) == len("429") and name.isascii() and name.isdigit() else None


def status_in(text: str) -> int | None:
    """The HTTP status of an error that a message tells, in one of the known wordings."""
    found = _STATUS_IN_TEXT.search(text[:_TEXT_LOOKED_AT])
    if found:
        return int(found[1] or found[2])
    return next((status for status, worded in _WORDED if worded.match(text)), None)
