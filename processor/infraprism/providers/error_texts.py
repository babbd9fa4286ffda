"""What the text of an error tells: the HTTP status, and a provider's code or the end of a class name; never more.

Clients put into their texts what the provider answered, which repeats prompts and keys. So a text is only searched for
a closed list of words in known places, and of what is found nothing but three digits or a word of the list goes on.
Three digits alone are no status: they need a wording before or a reason phrase behind them.

The patterns keep to what RE2 has too, since the collector's configuration is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from infraprism.providers.error_names import CLASSES, CODES, GENERAL
from infraprism.schema.patterns import compiled

LOOKED_AT: Final = 2000
"""How much of a text is searched."""
STATUS: Final = "[45][0-9]{2}"
_BEFORE: Final = r"""(?:^|[\s:;,('"\[{<=/])"""
_BEHIND: Final = r"(?:$|[^0-9A-Za-z_%.-]|[.](?:$|[^0-9]))"

_FIRST: Final = (
    rf"""^(?:[A-Za-z_][A-Za-z0-9_.]{{0,80}}: )?[(\[]?({STATUS})[)\]]?(?:: | - | (?:[A-Z{{"']|status code))"""
)
# The wordings of clients and HTTP libraries in Python, for Node, Java, .NET, Go and Rust.
_QUOTE: Final = r"""\\{0,2}["']"""
_KEY: Final = r"(?i:(?:http|response|error)?[ _-]?(?:status[ _-]?code|status)|error[ _-]code|http[ _-](?:code|error))"
_WORDINGS: Final = (
    # status_code=429, "status": 429, Status Code: 429, error code: '429', statusCode: 429
    rf"{_KEY}(?:{_QUOTE})?(?:: ?|=| = | is | was )(?:{_QUOTE}|[(])?",
    # HTTP 429, HTTP/1.1 429, status code 429, failed with status 429
    r"(?i:http|http/[0-9.]{1,3}|http error|http status|(?:status|response|error) code|http status code) ",
    r"(?i:with|returned|unexpected|received|got|occurred:) [Ss]tatus:? ",
    rf"{_QUOTE}code{_QUOTE}: ?(?:{_QUOTE})?",
    r"does not indicate success: ",
    r"API [Ee]rror: ?",
)
_WORDED_STATUS: Final = rf"{_BEFORE}(?:{'|'.join(_WORDINGS)})({STATUS}){_BEHIND}"
_NUMBERED: Final = rf"{_BEFORE}[Ee]rror ({STATUS})(?:[:,]|$)"
_REASONS: Final = (
    *("Bad Request", "Unauthorized", "Payment Required", "Forbidden", "Not Found", "Method Not Allowed"),
    *("Not Acceptable", "Request Timeout", "Conflict", "Gone", "Payload Too Large", "Content Too Large"),
    *("Request Entity Too Large", "Unsupported Media Type", "Unprocessable Entity", "Unprocessable Content"),
    *("Failed Dependency", "Too Many Requests", "Client Closed Request", "Internal Server Error", "Not Implemented"),
    *("Bad Gateway", "Service Unavailable", "Gateway Timeout", "Site is overloaded"),
)
_PHRASED: Final = rf"{_BEFORE}({STATUS})[ :-]{{1,3}}[(]?(?:%s)" % "|".join(
    spelling for reason in _REASONS for spelling in (reason, reason.upper().replace(" ", "_"))
)
STATUSES: Final = (_FIRST, _WORDED_STATUS, _NUMBERED, _PHRASED)
"""Where a text tells its HTTP status, which is the group; the first pattern that is found anywhere decides."""

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
RETRIED: Final = (
    r"(?:Failed after [0-9]+ attempts[.] Last error: )?"
    r"(?:[A-Za-z_][A-Za-z0-9_.]{0,80}(?:Error|Exception): )?(?:[(][A-Za-z0-9_]{1,64}[)] )?"
)
"""What may stand before such a message: how often it was tried, the class that a framework wrapped it in, and the
code in Azure's clients for Python."""

END: Final = "error"
"""Stands behind the end of a class name, which is no provider's code: `timeout` is one, `timeouterror` is none."""


def longest_first(words: Iterable[str]) -> str:
    """Alternatives of which the longest is found."""
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


_SPECIFIC_CODES: Final = longest_first(code for code, kind in CODES.items() if kind not in GENERAL)
_SPECIFIC_ENDS: Final = longest_first(end for end, kind in CLASSES if kind not in (*GENERAL, "other"))
_GENERAL_ENDS: Final = longest_first(end for end, kind in CLASSES if kind in (*GENERAL, "other"))


def _member(codes: str) -> str:
    """A member of the provider's answer, in JSON or as Python prints it."""
    return rf"{_QUOTE}(?:code|type|status|reason|__type){_QUOTE}: ?{_QUOTE}((?i:{codes})){_QUOTE}"


def _named(ends: str, *, before: str = "") -> str:
    """A class at the beginning of a text, in a text of botocore, or a status of gRPC.

    `before` may stand before the ending "Error".
    """
    module, ending = "(?:[a-z0-9_]+[.$]){0,12}[a-z0-9_]{0,80}?", f"(?:{before}(?:error|exception))?"
    first = rf"""^(?i:{module})((?i:{ends}))(?i:{ending})(?::\s|[(]['")]|:?$)"""
    botocore = rf"[(][A-Za-z]{{0,60}}?((?i:{ends}))(?:Exception|Error)?[)] when calling the "
    grpc = rf"(?:StatusCode[.]|\bcode = )((?i:{ends}))(?:[\s,>)]|$)"
    return f"{first}|{botocore}|{grpc}"


class Telling(NamedTuple):
    """A place in a text that names the error: the pattern, whose groups are the name unless it means `word` itself.

    `is_code` says that the name is a provider's code, and not the end of a class name.
    """

    pattern: str
    word: str = ""
    is_code: bool = False


_GRPC: Final = r"(?:StatusCode[.]|^[0-9]{1,2} |StatusRuntimeException: |status: )"
_BEHIND_CODE: Final = r"(?:: |[\n,>)]|$)"
TELLINGS: Final = (
    Telling(_member(_SPECIFIC_CODES), is_code=True),
    Telling(_named(_SPECIFIC_ENDS, before="_?")),
    Telling(rf"^((?i:{_SPECIFIC_CODES})){_BEHIND_CODE}", is_code=True),
    Telling(rf"^[(]((?i:{_SPECIFIC_CODES}))[)] ", is_code=True),  # azure-core
    Telling(rf"{_GRPC}((?i:{longest_first(CODES)}))(?:[\s:,>)]|$)", is_code=True),
    Telling(
        r"maximum context length is|prompt is too long|exceeds? the (?:model's )?context window|exceed context limit"
        r"|Input is too long for requested model|exceeds the maximum number of (?:input )?tokens allowed",
        "contextlengthexceeded",
    ),
    Telling(
        r"content management policy|content filtering policy|prohibited content policy|flagged by our moderation"
        r"|rejected as a result of our safety system",
        "contentfilter",
    ),
    Telling(
        r"^Request timed out|context deadline exceeded|Read timed out|operation timed out|^timed out|ETIMEDOUT"
        r"|The read operation timed out|[Cc]onnection timed out|aborted due to timeout|reason: timeout",
        "timeout",
    ),
    Telling(
        r"^Connection error|[Cc]onnection (?:refused|reset|aborted|closed)|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN"
        r"|EPIPE|socket hang up|fetch failed$|no such host|Name or service not known|getaddrinfo|: unexpected EOF"
        r"|[Nn]etwork is unreachable|^Server disconnected|^peer closed connection|Could not connect to the endpoint"
        r"|All connection attempts failed|[Nn]o route to host|Max retries exceeded with url",
        "connection",
    ),
    Telling(
        r"context canceled$|operation was (?:aborted|cancell?ed)|^Request was aborted|task was cancell?ed"
        r"|^abandoned stream$",
        "cancelled",
    ),
    # OpenAI's, in the middle of a stream.
    Telling(rf"^{RETRIED}An error occurred while processing your request\b", "internalserver"),
    Telling(_named(_GENERAL_ENDS)),  # no underscore: Sentry calls any failure an `internal_error`
    Telling(_member(longest_first(CODES)), is_code=True),
    Telling(rf"^[(]((?i:{longest_first(CODES)}))[)] ", is_code=True),
)
"""Where a text names the error; the first that is found decides, so that what says more comes first."""

REDUCED: Final = (
    rf"(?:(?:{longest_first(end for end, _ in CLASSES)}){END}: )?(?:Error code: {STATUS})?"
    rf"(?: 'code': '(?:{longest_first(CODES)})')?"
)
"""All that a text comes down to that tells the same as a whole one: how the collector leaves it."""

_WORDED: Final = tuple(
    (status, RETRIED + "(?:" + longest_first(beginnings) + ")") for status, beginnings in WORDED.items()
)


def status_in(text: str) -> int | None:
    """The HTTP status of an error that a text tells, in one of the known wordings."""
    looked_at = text[:LOOKED_AT]
    found = next(filter(None, (compiled(pattern).search(looked_at) for pattern in STATUSES)), None)
    if found:
        return int(found[1])
    return next((status for status, worded in _WORDED if compiled(worded).match(looked_at)), None)


def name_in(text: str) -> str | None:
    """The provider's code that a text has, or the end of a class name and `END`; both in small letters."""
    looked_at = text[:LOOKED_AT]
    for telling in TELLINGS:
        found = compiled(telling.pattern).search(looked_at)
        if found:
            name = telling.word or next(filter(None, found.groups()))
            return name.lower() if telling.is_code else name.lower() + END
    return None
