"""`error.type` of a failed call, from provider error codes and exception classes. Messages are never read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from infraprism.instrumentation import conventions as key
from infraprism.providers.error_names import CODES

_is_class_name: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,199}").fullmatch
_FIRST_ERROR_STATUS: Final = 400
# For a rejected request these are less specific than the class of the exception.
_GENERIC: Final = frozenset({"invalid_request_error", "api_error", "server_error"})


def of_exception(error: BaseException) -> dict[str, str | int]:
    """`error.type` of an exception, and the status code if it is an HTTP error.

    The type is the provider's error code if that is a known one, else the qualified class name of the exception.
    """
    status = _error_field(error, "status_code")
    rejected = type(status) is int and _FIRST_ERROR_STATUS <= status < 1000  # noqa: PLR2004 - a status has three digits
    found: dict[str, str | int] = {key.ERROR_TYPE: _provider_code(error, rejected=rejected) or _class_name(error)}
    if rejected:
        found[key.HTTP_STATUS] = status
    return found


def of_response(error: object) -> str:
    """`error.type` for an error object in a response or stream: its code if it is a known one, else `_OTHER`."""
    return (
        _known_code((error,) if isinstance(error, str) else (*_values_at(error, "code"), *_values_at(error, "type")))
        or "_OTHER"
    )


def _provider_code(error: BaseException, *, rejected: bool) -> str | None:
    body = _error_field(error, "body")
    inner = body.get("error") if isinstance(body, dict) else None
    codes = (_error_field(error, "code"), *_values_at(inner, "code"), *_values_at(body, "code"))
    types = (*_values_at(inner, "type"), *_values_at(body, "type"), _error_field(error, "type"))
    return _known_code(codes) or _known_code(name for name in types if not (rejected and name in _GENERIC))


def _values_at(body: object, name: str) -> tuple[object, ...]:
    return (body.get(name),) if isinstance(body, dict) else ()


def _known_code(names: Iterable[object]) -> str | None:
    # An unknown code could be any text.
    return next((name for name in names if type(name) is str and name.lower() in CODES), None)


def _error_field(error: BaseException, name: str) -> Any:
    # Instance fields first; a class may define the status of all its errors. Properties are not evaluated.
    found = error.__dict__.get(name)
    return found if found is not None else next((v for c in type(error).__mro__ if (v := c.__dict__.get(name))), None)


def _class_name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name if _is_class_name(name) else "_OTHER"
