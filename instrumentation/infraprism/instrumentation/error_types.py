"""What an exception of a call is called on the span: never by its message."""

from __future__ import annotations

from typing import Any, Final

from infraprism.instrumentation import conventions as key

KNOWN_CODES: Final = frozenset(
    {
        # OpenAI: `error.code`
        "account_deactivated",
        "billing_hard_limit_reached",
        "billing_not_active",
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_api_key",
        "invalid_prompt",
        "invalid_request_error",
        "model_not_found",
        "quota_exceeded",
        "rate_limit_exceeded",
        "request_timeout",
        "server_error",
        "server_overloaded",
        "string_above_max_length",
        "tokens_limit_reached",
        "unsupported_country_region_territory",
        "unsupported_parameter",
        "unsupported_value",
        # Azure OpenAI
        "DeploymentNotFound",
        "ResponsibleAIPolicyViolation",
        # Anthropic: `error.type`
        "api_error",
        "authentication_error",
        "billing_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    }
)
"""Codes that providers document. Any other is text of someone else, and the exception's class is used instead."""

_FIRST_FAILURE: Final = 400


def attributes(error: BaseException) -> dict[str, str | int]:
    """`error.type`, and the HTTP status where the server answered with one.

    The type is the provider's code if it is a known one, else the qualified class of the exception.
    """
    found: dict[str, str | int] = {key.ERROR_TYPE: _code(error) or _class(error)}
    status = _field(error, "status_code")
    if type(status) is int and _FIRST_FAILURE <= status < 1000:  # noqa: PLR2004 - a status has three digits
        found[key.HTTP_STATUS] = status
    return found


def _code(error: BaseException) -> str | None:
    body = _field(error, "body")
    inner = body.get("error") if isinstance(body, dict) else None
    for place in (_field(error, "code"), *_codes(inner), *_codes(body), _field(error, "type")):
        if type(place) is str and place in KNOWN_CODES:
            return place
    return None


def reported(error: object) -> str:
    """`error.type` for an error that stands in an answer: its code if it is a known one."""
    return next((code for code in _codes(error) if type(code) is str and code in KNOWN_CODES), "_OTHER")


def _codes(body: object) -> tuple[object, ...]:
    return (body.get("code"), body.get("type")) if isinstance(body, dict) else ()


def _field(error: BaseException, name: str) -> Any:
    # Instance fields first; a class may hold the status of all its errors. Properties are not run.
    found = error.__dict__.get(name)
    return found if found is not None else next((v for c in type(error).__mro__ if (v := c.__dict__.get(name))), None)


def _class(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
