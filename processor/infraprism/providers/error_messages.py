"""Finds in error messages the HTTP status, and the provider's code or the end of a class name; nothing else.

Error messages may contain the provider's response, which repeats prompts and keys. So a message is only searched for
words of a closed list in known positions, and only three digits or a word of the list are returned. Three digits alone
are not a status: known words must precede them, or a reason phrase must follow.

The patterns use the syntax that RE2 supports too, since the collector's configuration is generated from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from infraprism.providers.error_names import CLASSES, CODES, GENERAL
from infraprism.schema.patterns import compiled

MAX_SEARCHED: Final = 2000
"""Characters of a message that are searched."""
STATUS: Final = "[45][0-9]{2}"
_BEFORE: Final = r"""(?:^|[\s:;,('"\[{<=/])"""
_AFTER: Final = r"(?:$|[^0-9A-Za-z_%.-]|[.](?:$|[^0-9]))"

_FIRST: Final = (
    rf"""^(?:[A-Za-z_][A-Za-z0-9_.]{{0,80}}: )?[(\[]?({STATUS})[)\]]?(?:: | - | (?:[A-Z{{"']|status code))"""
)
# The messages of clients and HTTP libraries for Python, Node, Java, .NET, Go and Rust.
_QUOTE: Final = r"""\\{0,2}["']"""
_KEY: Final = r"(?i:(?:http|response|error)?[ _-]?(?:status[ _-]?code|status)|error[ _-]code|http[ _-](?:code|error))"
_STATUS_WORDS: Final = (
    # status_code=429, "status": 429, Status Code: 429, error code: '429', statusCode: 429
    rf"{_KEY}(?:{_QUOTE})?(?:: ?|=| = | is | was )(?:{_QUOTE}|[(])?",
    # HTTP 429, HTTP/1.1 429, status code 429, failed with status 429
    r"(?i:http|http/[0-9.]{1,3}|http error|http status|(?:status|response|error) code|http status code) ",
    r"(?i:with|returned|unexpected|received|got|occurred:) [Ss]tatus:? ",
    rf"{_QUOTE}code{_QUOTE}: ?(?:{_QUOTE})?",
    r"does not indicate success: ",
    r"API [Ee]rror: ?",
)
_WORDED_STATUS: Final = rf"{_BEFORE}(?:{'|'.join(_STATUS_WORDS)})({STATUS}){_AFTER}"
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
STATUS_PATTERNS: Final = (_FIRST, _WORDED_STATUS, _NUMBERED, _PHRASED)
"""Positions of an HTTP status, which is the group; the first pattern that matches anywhere decides."""

MESSAGE_PREFIXES: Final = {
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
"""Beginnings of provider messages by HTTP status, and the reason phrases of HTTP.

The AI SDK up to version 6 records a message without status. Only the beginning of a message is compared.
"""
MESSAGE_PREAMBLE: Final = (
    r"(?:Failed after [0-9]+ attempts[.] Last error: )?"
    r"(?:[A-Za-z_][A-Za-z0-9_.]{0,80}(?:Error|Exception): )?(?:[(][A-Za-z0-9_]{1,64}[)] )?"
)
"""What may precede such a message: the number of attempts, the class of a framework's exception, and the code in
Azure's clients for Python."""

CLASS_SUFFIX: Final = "error"
"""Follows the end of a class name, to distinguish it from a code: `timeout` is a code, `timeouterror` a class."""


def longest_first(words: Iterable[str]) -> str:
    """Words as alternatives of a pattern, of which the longest matches."""
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


_SPECIFIC_CODES: Final = longest_first(code for code, error_type in CODES.items() if error_type not in GENERAL)
_SPECIFIC_ENDS: Final = longest_first(end for end, error_type in CLASSES if error_type not in (*GENERAL, "other"))
_GENERAL_ENDS: Final = longest_first(end for end, error_type in CLASSES if error_type in (*GENERAL, "other"))


def _member(codes: str) -> str:
    """A member of the provider's response, in JSON or as Python prints it."""
    return rf"{_QUOTE}(?:code|type|status|reason|__type){_QUOTE}: ?{_QUOTE}((?i:{codes})){_QUOTE}"


def _named(ends: str, *, before: str = "") -> str:
    """A class at the beginning of a message, in a message of botocore, or a status of gRPC.

    `before` may precede the ending "Error".
    """
    module, ending = "(?:[a-z0-9_]+[.$]){0,12}[a-z0-9_]{0,80}?", f"(?:{before}(?:error|exception))?"
    first = rf"""^(?i:{module})((?i:{ends}))(?i:{ending})(?::\s|[(]['")]|:?$)"""
    botocore = rf"[(][A-Za-z]{{0,60}}?((?i:{ends}))(?:Exception|Error)?[)] when calling the "
    grpc = rf"(?:StatusCode[.]|\bcode = )((?i:{ends}))(?:[\s,>)]|$)"
    return f"{first}|{botocore}|{grpc}"


class NamePattern(NamedTuple):
    """A position in a message that names the error. The name is the group of `pattern`, or `name` if that is not empty.

    `is_code`: the name is a provider's code, not the end of a class name.
    """

    pattern: str
    name: str = ""
    is_code: bool = False


_GRPC: Final = r"(?:StatusCode[.]|^[0-9]{1,2} |StatusRuntimeException: |status: )"
_AFTER_CODE: Final = r"(?:: |[\n,>)]|$)"
NAME_PATTERNS: Final = (
    NamePattern(_member(_SPECIFIC_CODES), is_code=True),
    NamePattern(_named(_SPECIFIC_ENDS, before="_?")),
    NamePattern(rf"^((?i:{_SPECIFIC_CODES})){_AFTER_CODE}", is_code=True),
    NamePattern(rf"^[(]((?i:{_SPECIFIC_CODES}))[)] ", is_code=True),  # azure-core
    NamePattern(rf"{_GRPC}((?i:{longest_first(CODES)}))(?:[\s:,>)]|$)", is_code=True),
    NamePattern(
        r"maximum context length is|prompt is too long|exceeds? the (?:model's )?context window|exceed context limit"
        r"|Input is too long for requested model|exceeds the maximum number of (?:input )?tokens allowed",
        "contextlengthexceeded",
    ),
    NamePattern(
        r"content management policy|content filtering policy|prohibited content policy|flagged by our moderation"
        r"|rejected as a result of our safety system",
        "contentfilter",
    ),
    NamePattern(
        r"^Request timed out|context deadline exceeded|Read timed out|operation timed out|^timed out|ETIMEDOUT"
        r"|The read operation timed out|[Cc]onnection timed out|aborted due to timeout|reason: timeout",
        "timeout",
    ),
    NamePattern(
        r"^Connection error|[Cc]onnection (?:refused|reset|aborted|closed)|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN"
        r"|EPIPE|socket hang up|fetch failed$|no such host|Name or service not known|getaddrinfo|: unexpected EOF"
        r"|[Nn]etwork is unreachable|^Server disconnected|^peer closed connection|Could not connect to the endpoint"
        r"|All connection attempts failed|[Nn]o route to host|Max retries exceeded with url",
        "connection",
    ),
    NamePattern(
        r"context canceled$|operation was (?:aborted|cancell?ed)|^Request was aborted|task was cancell?ed"
        r"|^abandoned stream$",
        "cancelled",
    ),
    # OpenAI's, in the middle of a stream.
    NamePattern(rf"^{MESSAGE_PREAMBLE}An error occurred while processing your request\b", "internalserver"),
    NamePattern(_named(_GENERAL_ENDS)),  # no underscore: Sentry records any failure as `internal_error`
    NamePattern(_member(longest_first(CODES)), is_code=True),
    NamePattern(rf"^[(]((?i:{longest_first(CODES)}))[)] ", is_code=True),
)
"""The first pattern that matches decides, so the more specific ones are first."""

REDUCED_MESSAGE: Final = (
    rf"(?:(?:{longest_first(end for end, _ in CLASSES)}){CLASS_SUFFIX}: )?(?:Error code: {STATUS})?"
    rf"(?: 'code': '(?:{longest_first(CODES)})')?"
)
"""The form to which the collector reduces a message; it has the same status and name as the complete message."""

_PREFIXES: Final = tuple(
    (status, MESSAGE_PREAMBLE + "(?:" + longest_first(prefixes) + ")") for status, prefixes in MESSAGE_PREFIXES.items()
)


def status_in(message: str) -> int | None:
    """The HTTP status in an error message, None if there is none in a known position."""
    searched = message[:MAX_SEARCHED]
    found = next(filter(None, (compiled(pattern).search(searched) for pattern in STATUS_PATTERNS)), None)
    if found:
        return int(found[1])
    return next((status for status, prefixes in _PREFIXES if compiled(prefixes).match(searched)), None)


def name_in(message: str) -> str | None:
    """The provider's code in a message, or the end of a class name and `CLASS_SUFFIX`; both in lower case."""
    searched = message[:MAX_SEARCHED]
    for pattern in NAME_PATTERNS:
        found = compiled(pattern.pattern).search(searched)
        if found:
            name = pattern.name or next(filter(None, found.groups()))
            return name.lower() if pattern.is_code else name.lower() + CLASS_SUFFIX
    return None
