"""What an exception of a call is called on the span: never by its message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from infraprism.instrumentation import conventions as key
from infraprism.providers.error_names import CODES

_is_class_name: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,199}").fullmatch
_FIRST_FAILURE: Final = 400
# These say less than the exception's class does where the server refused the request.
_GENERIC: Final = frozenset({"invalid_request_error", "api_error", "server_error"})


def attributes(error: BaseException) -> dict[str, str | int]:
    """`error.type`, and the HTTP status where the server answered with one.

    The type is the provider's code if it is a known one, else the qualified class of the exception.
    """
    status = _field(error, "status_code")
    refused = type(status) is int and _FIRST_FAILURE <= status < 1000  # noqa: PLR2004 - a status has three digits
    found: dict[str, str | int] = {key.ERROR_TYPE: _code(error, refused=refused) or _class(error)}
    if refused:
        found[key.HTTP_STATUS] = status
    return found


def reported(error: object) -> str:
    """`error.type` for an error that stands in an answer: its code if it is a known one."""
    return _known((error,) if isinstance(error, str) else (*_at(error, "code"), *_at(error, "type"))) or "_OTHER"


def _code(error: BaseException, *, refused: bool) -> str | None:
    body = _field(error, "body")
    inner = body.get("error") if isinstance(body, dict) else None
    codes = (_field(error, "code"), *_at(inner, "code"), *_at(body, "code"))
    types = (*_at(inner, "type"), *_at(body, "type"), _field(error, "type"))
    return _known(codes) or _known(name for name in types if not (refused and name in _GENERIC))


def _at(body: object, name: str) -> tuple[object, ...]:
    return (body.get(name),) if isinstance(body, dict) else ()


def _known(names: Iterable[object]) -> str | None:
    # Any code that is not known is text of somebody else.
    return next((name for name in names if type(name) is str and name.lower() in CODES), None)


def _field(error: BaseException, name: str) -> Any:
    # Instance fields first; a class may hold the status of all its errors. Properties are not run.
    found = error.__dict__.get(name)
    return found if found is not None else next((v for c in type(error).__mro__ if (v := c.__dict__.get(name))), None)


def _class(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name if _is_class_name(name) else "_OTHER"
