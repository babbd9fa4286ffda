"""The exporter's settings, and the backend that they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from infraprism.cli.doctor.finding import Finding
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api, ForbiddenFailure
from infraprism.exporter import SettingsError
from infraprism.exporter.settings import Settings, read_settings

_LOCAL: Final = ("localhost", "127.0.0.1", "[")


def settings_and_server() -> Iterator[Finding]:
    """The settings; if they are valid, the backend."""
    invalid, settings = _read()
    for message in invalid:
        yield Finding("problem", "settings", message, "Correct or unset it. No events are sent until this is fixed.")
    if invalid or settings is None:
        return
    yield from _settings(settings)
    yield from _server(settings)


def _read() -> tuple[list[str], Settings | None]:
    """All invalid settings, each as one line, and the settings without them."""
    environment = dict(os.environ)
    invalid: list[str] = []
    while True:
        try:
            return invalid, read_settings(environment, {})
        except SettingsError as error:
            invalid.append(str(error))
            # The message starts with the name of the variable, and is repeated if another one is the cause.
            if environment.pop(invalid[-1].partition(" ")[0], None) is None:
                return invalid, None


def _settings(settings: Settings) -> Iterator[Finding]:
    if settings.preview:
        yield Finding("warning", "INFRAPRISM_PREVIEW", "events are printed and not sent", "Unset it to send them.")
    detail = "is sent" if settings.usage_detail else "is not sent"
    yield Finding("ok", "usage detail", f"{detail} (INFRAPRISM_USAGE_DETAIL)")
    if not settings.can_authenticate:
        advice = "Set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it."
        yield Finding("problem", "key", "is not set, so no events are sent", advice)
    else:
        yield Finding("ok", "key", "is set")
    if not settings.secure and settings.host.partition(":")[0] not in _LOCAL:
        yield Finding("warning", "endpoint", "is not encrypted, and the key is sent to it", "Use an https endpoint.")


def _server(settings: Settings) -> Iterator[Finding]:
    if settings.protocol == "grpc":
        yield Finding(
            "warning",
            "endpoint",
            f"gRPC at {settings.host} was not checked: the REST API is on the HTTP port",
            "Run `infraprism doctor` with INFRAPRISM_PROTOCOL=http/protobuf to check the backend and the key.",
        )
        return
    api = Api(settings.url, settings.api_key)
    yield from _checked("endpoint", lambda: _health(api))
    if settings.can_authenticate:
        yield from _checked("key", lambda: _key(api, settings))


def _health(api: Api) -> Iterator[Finding]:
    state = api.readiness()
    yield Finding("ok", "endpoint", f"{api.endpoint} answers")
    if state.get("status") == "unavailable":
        advice = "Free space on the disk of its --data-dir, and read the log of `infraprism serve`."
        yield Finding("problem", "server", f"cannot store or read events now: {_line(state.get('reason'))}", advice)
    elif state.get("status") == "degraded":
        advice = "Check the permissions and the disk of its --data-dir."
        yield Finding("warning", "server", f"stores and reads events, but {_line(state.get('reason'))}", advice)
    else:
        yield Finding("ok", "server", "stores and reads events")
    damaged = state.get("damaged_parts")
    for part in damaged if isinstance(damaged, list) else ():
        if isinstance(part, dict):
            rows = "an unknown number of" if part.get("rows") is None else part["rows"]
            times = (
                f"from {_line(part['first'])} to {_line(part.get('last'))}" if part.get("first") else "at unknown times"
            )
            reason = f" ({_line(part['unknown'])})" if part.get("unknown") else ""
            yield Finding(
                "problem",
                "server data",
                f"part {_line(part.get('name'))} is damaged: {rows} events {times} are not read{reason}",
                "Stop the server and run `infraprism store repair` where it runs.",
            )


def _line(text: object) -> str:
    """A text of the backend on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))[:200]


def _key(api: Api, settings: Settings) -> Iterator[Finding]:
    try:
        account = api.get("/v1/me")
    except ForbiddenFailure:
        # Such as the key of an application, which has the scope ingest only.
        yield Finding("ok", "key", "the backend accepts it; it lacks the scope read, so the account was not checked")
        return
    yield from _account(account, settings)


def _account(account: Any, settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "key", "the backend accepts it")
    accepted = isinstance(account, dict) and account.get("usage_detail")
    if settings.usage_detail and accepted is False:
        yield Finding(
            "problem",
            "usage detail",
            "is sent (INFRAPRISM_USAGE_DETAIL), but the account does not store it",
            "Run `infraprism account set usage-detail on` where the backend runs, or unset INFRAPRISM_USAGE_DETAIL.",
        )


def _checked(subject: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check, or that it failed."""
    try:
        return list(check())
    except Failure as failure:
        finding, _, advice = str(failure).partition(": ")
        return [Finding("problem", subject, finding, f"{advice[:1].upper()}{advice[1:]}." if advice else "")]
