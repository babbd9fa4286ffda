"""Refusals in each provider's own words, quoting the prompt and the key where the real ones do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from infraprism.local_provider.call import Call
from infraprism.local_provider.reply import Reply, encoded

_RETRY_SOON: Final = {"retry-after": "1", "retry-after-ms": "40"}
_QUOTED: Final = 80


class _Refusal(NamedTuple):
    """OpenAI's and Anthropic's answer to the same mishap."""

    status: int
    openai_type: str | None
    openai_code: str | None
    openai_param: str | None
    openai_message: str
    anthropic_status: int
    anthropic_type: str
    anthropic_message: str
    headers: Mapping[str, str]


def _refusal(
    status: int,
    openai: tuple[str | None, str | None, str | None, str],
    anthropic: tuple[str, str],
    *,
    anthropic_status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> _Refusal:
    return _Refusal(status, *openai, anthropic_status or status, *anthropic, headers or {})


_INVALID: Final = "invalid_request_error"
_RATE_LIMIT: Final = _refusal(
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

_REFUSALS: Final[Mapping[str, _Refusal]] = {
    "err400": _refusal(
        400,
        (_INVALID, "invalid_value", "messages[0]", "Invalid value: '{prompt}'. Supported values are: 'text'."),
        (_INVALID, "messages.0: Input does not match the expected shape. Input: '{prompt}'"),
    ),
    "err401": _refusal(
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
    "err403": _refusal(
        403,
        (
            "request_forbidden",
            "unsupported_country_region_territory",
            None,
            "Country, region, or territory not supported",
        ),
        ("permission_error", "Your API key {key} does not have permission to use the specified resource."),
    ),
    "err404": _refusal(
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
    "err500": _refusal(
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
    "err529": _refusal(
        503,
        ("server_error", None, None, "The engine is currently overloaded, please try again later"),
        ("overloaded_error", "Overloaded"),
        anthropic_status=529,
        headers={"retry-after-ms": "40"},
    ),
    "context-length": _refusal(
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
    "content-filter": _refusal(
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
    "stream-error": _refusal(
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
    """A key as error messages show it: its first eight characters and its last four."""
    return key if len(key) < 16 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"  # noqa: PLR2004  # shorter ones are shown whole


def error_object(marker: str, call: Call) -> dict[str, Any]:
    """What stands under `error` in the provider's answer."""
    refusal = _REFUSALS[marker]
    if call.provider == "azure" and marker == "content-filter":
        return dict(_AZURE_FILTER)
    words = {
        "model": call.model,
        "prompt": call.text[:_QUOTED],
        "key": masked(call.key),
        "organization": "org-3f6c1d2b9a",
        "request": call.request_id,
    }
    if call.provider == "anthropic":
        return {"type": refusal.anthropic_type, "message": refusal.anthropic_message.format(**words)}
    return {
        "message": refusal.openai_message.format(**words),
        "type": refusal.openai_type,
        "param": refusal.openai_param,
        "code": refusal.openai_code,
    }


def error_body(error: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """An error as the body of an answer, or as an event of a stream."""
    if call.provider == "anthropic":
        return {"type": "error", "error": error, "request_id": call.request_id}
    return {"error": error}


def refused(marker: str, call: Call) -> Reply:
    """The answer to a call that the model's name has refused."""
    refusal = _REFUSALS[marker]
    error = error_object(marker, call)
    status = refusal.anthropic_status if call.provider == "anthropic" else refusal.status
    return _error_reply(status, error, call, refusal.headers)


def invalid(call: Call, message: str, *, code: str | None = None, status: int = 400) -> Reply:
    """The answer to a request that is wrong by itself."""
    kind = _INVALID
    error: dict[str, Any] = {"type": kind, "message": message}
    if call.provider != "anthropic":
        error |= {"param": None, "code": code}
    elif status in (401, 404):
        error["type"] = "authentication_error" if status == 401 else "not_found_error"  # noqa: PLR2004  # HTTP
    return _error_reply(status, error, call, {})


def _error_reply(status: int, error: Mapping[str, Any], call: Call, headers: Mapping[str, str]) -> Reply:
    return Reply(
        status,
        encoded(error_body(error, call)),
        headers=headers,
        error_code=error.get("code") or (error["type"] if call.provider == "anthropic" else None),
    )


_REFUSED_AT_ONCE: Final = tuple(marker for marker in _REFUSALS if marker not in ("retry429", "stream-error"))

Handler = Callable[[Call], Reply]


def refusal_of(call: Call, identity: bytes) -> Reply | None:
    """The refusal that the model's name asks for, or None if the call is to be answered.

    `identity` tells requests apart for clients that do not say that they retry.
    """
    for marker in _REFUSED_AT_ONCE:
        if call.asks(marker):
            return refused(marker, call)
    if call.asks("stream-error") and not call.streamed:
        return refused("stream-error", call)
    if call.asks("retry429"):
        says_so = "x-stainless-retry-count" in call.headers
        if call.attempt == 0 if says_so else call.memory.is_first_attempt(identity):
            return refused("retry429", call)
    return None
