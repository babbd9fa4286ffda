"""Error responses with each provider's wording. They quote the prompt and the key where the real ones do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse, encoded

_RETRY_SOON: Final = {"retry-after": "1", "retry-after-ms": "40"}
_QUOTED: Final = 80


class _ProviderError(NamedTuple):
    """OpenAI's and Anthropic's response to the same error."""

    status: int
    openai_type: str | None
    openai_code: str | None
    openai_param: str | None
    openai_message: str
    anthropic_status: int
    anthropic_type: str
    anthropic_message: str
    headers: Mapping[str, str]


def _error(
    status: int,
    openai: tuple[str | None, str | None, str | None, str],
    anthropic: tuple[str, str],
    *,
    anthropic_status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> _ProviderError:
    return _ProviderError(status, *openai, anthropic_status or status, *anthropic, headers or {})


_INVALID: Final = "invalid_request_error"
_RATE_LIMIT: Final = _error(
    429,
    (
        "tokens",
        "rate_limit_exceeded",
        None,
        (
            "Rate limit reached for {model} in organization {organization} on tokens per min (TPM): Limit 30000, "
            "Used 29871, Requested 1234. Please try again in 40ms. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        ),
    ),
    (
        "rate_limit_error",
        (
            "This request would exceed the rate limit for your organization ({organization}) of 30,000 input tokens "
            "per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits."
        ),
    ),
    headers=_RETRY_SOON,
)

_ERRORS: Final[Mapping[str, _ProviderError]] = {
    "err400": _error(
        400,
        (_INVALID, "invalid_value", "messages[0]", "Invalid value: '{prompt}'. Supported values are: 'text'."),
        (_INVALID, "messages.0: Input does not match the expected shape. Input: '{prompt}'"),
    ),
    "err401": _error(
        401,
        (
            _INVALID,
            "invalid_api_key",
            None,
            (
                "Incorrect API key provided: {key}. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            ),
        ),
        ("authentication_error", "invalid x-api-key: {key}"),
    ),
    "err403": _error(
        403,
        (
            "request_forbidden",
            "unsupported_country_region_territory",
            None,
            "Country, region, or territory not supported",
        ),
        ("permission_error", "Your API key {key} does not have permission to use the specified resource."),
    ),
    "err404": _error(
        404,
        (
            _INVALID,
            "model_not_found",
            None,
            "The model `{model}` does not exist or you do not have access to it.",
        ),
        ("not_found_error", "model: {model}"),
    ),
    "err429": _RATE_LIMIT,
    "retry429": _RATE_LIMIT,
    "err500": _error(
        500,
        (
            "server_error",
            None,
            None,
            (
                "The server had an error while processing your request. Sorry about that! You can retry your request, "
                "or contact us through our help center at help.openai.com if the error persists. (Please include the "
                "request ID {request} in your message.)"
            ),
        ),
        ("api_error", "Internal server error"),
        headers={"retry-after-ms": "40"},
    ),
    "err529": _error(
        503,
        ("server_error", None, None, "The engine is currently overloaded, please try again later"),
        ("overloaded_error", "Overloaded"),
        anthropic_status=529,
        headers={"retry-after-ms": "40"},
    ),
    "context-length": _error(
        400,
        (
            _INVALID,
            "context_length_exceeded",
            "messages",
            (
                "This model's maximum context length is 128000 tokens. However, your messages resulted in 130021 "
                "tokens. Please reduce the length of the messages."
            ),
        ),
        (_INVALID, "prompt is too long: 208310 tokens > 200000 maximum"),
    ),
    "content-filter": _error(
        400,
        (
            _INVALID,
            "invalid_prompt",
            None,
            (
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy: '{prompt}'. Please "
                "try again with a different prompt."
            ),
        ),
        (_INVALID, "Output blocked by content filtering policy"),
    ),
    "stream-error": _error(
        500,
        (
            "server_error",
            "server_error",
            None,
            (
                "An error occurred while processing your request about '{prompt}'. Please include the request ID "
                "{request} in your message."
            ),
        ),
        ("overloaded_error", "Overloaded"),
        anthropic_status=529,
        headers={"retry-after-ms": "40"},
    ),
}

_AZURE_FILTER: Final = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
    "Please modify your prompt and retry. To learn more about our content filtering policies please read our "
    "documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {
            "hate": {"filtered": True, "severity": "high"},
            "self_harm": {"filtered": False, "severity": "safe"},
            "sexual": {"filtered": False, "severity": "safe"},
            "violence": {"filtered": False, "severity": "safe"},
        },
    },
}


def masked(key: str) -> str:
    """A key as in error messages: its first eight characters and its last four."""
    return key if len(key) < 16 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"  # noqa: PLR2004  # shorter ones are not masked


def error_object(marker: str, request: ProviderRequest) -> dict[str, Any]:
    """The value of `error` in the provider's response."""
    case = _ERRORS[marker]
    if request.provider == "azure" and marker == "content-filter":
        return dict(_AZURE_FILTER)
    values = {
        "model": request.model,
        "prompt": request.text[:_QUOTED],
        "key": masked(request.key),
        "organization": "org-3f6c1d2b9a",
        "request": request.request_id,
    }
    if request.provider == "anthropic":
        return {"type": case.anthropic_type, "message": case.anthropic_message.format(**values)}
    return {
        "message": case.openai_message.format(**values),
        "type": case.openai_type,
        "param": case.openai_param,
        "code": case.openai_code,
    }


def error_body(error: Mapping[str, Any], request: ProviderRequest) -> dict[str, Any]:
    """An error as the body of a response, or as an event of a stream."""
    if request.provider == "anthropic":
        return {"type": "error", "error": error, "request_id": request.request_id}
    return {"error": error}


def error_response(marker: str, request: ProviderRequest) -> ProviderResponse:
    """The error response that a marker in the model's name selects."""
    case = _ERRORS[marker]
    error = error_object(marker, request)
    status = case.anthropic_status if request.provider == "anthropic" else case.status
    return _error_reply(status, error, request, case.headers)


def invalid(request: ProviderRequest, message: str, *, code: str | None = None, status: int = 400) -> ProviderResponse:
    """The response to an invalid request."""
    kind = _INVALID
    error: dict[str, Any] = {"type": kind, "message": message}
    if request.provider != "anthropic":
        error |= {"param": None, "code": code}
    elif status in (401, 404):
        error["type"] = "authentication_error" if status == 401 else "not_found_error"  # noqa: PLR2004  # HTTP
    return _error_reply(status, error, request, {})


def _error_reply(
    status: int, error: Mapping[str, Any], request: ProviderRequest, headers: Mapping[str, str]
) -> ProviderResponse:
    return ProviderResponse(
        status,
        encoded(error_body(error, request)),
        headers=headers,
        error_code=error.get("code") or (error["type"] if request.provider == "anthropic" else None),
    )


_IMMEDIATE_ERRORS: Final = tuple(marker for marker in _ERRORS if marker not in ("retry429", "stream-error"))

Handler = Callable[[ProviderRequest], ProviderResponse]


def requested_error(request: ProviderRequest, identity: bytes) -> ProviderResponse | None:
    """The error response that the model's name selects, or None.

    `identity` distinguishes requests of clients that send no retry count.
    """
    for marker in _IMMEDIATE_ERRORS:
        if request.has_marker(marker):
            return error_response(marker, request)
    if request.has_marker("stream-error") and not request.streamed:
        return error_response("stream-error", request)
    if request.has_marker("retry429"):
        sends_count = "x-stainless-retry-count" in request.headers
        if request.attempt == 0 if sends_count else request.state.is_first_attempt(identity):
            return error_response("retry429", request)
    return None
