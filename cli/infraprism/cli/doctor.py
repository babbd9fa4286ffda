"""`infraprism doctor`: what is set up, what is not, and what to do about it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Final, Literal, NamedTuple

from opentelemetry.trace import NoOpTracerProvider

from infraprism.cli import exact_json
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api
from infraprism.exporter import SettingsError
from infraprism.exporter.settings import Settings, read_settings
from infraprism.instrumentation import instrument, status, uninstrument
from infraprism.schema.settings import ALLOWED_BOOLEANS, SETTINGS, Setting, UnreadableSettingError, read_boolean

_EXAMPLES: Final = """\
Run it in the environment of the app: the same Python, the same variables. It sends no event, and never shows the key.
Ends with status 1 if there is a problem.

examples:
  infraprism doctor
  infraprism doctor --json"""
_PACKAGES: Final = (
    "infraprism-opentelemetry",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "opentelemetry-distro",
)

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One thing looked at. `advice` says what to do, and is empty where nothing is."""

    level: Level
    subject: str
    finding: str
    advice: str = ""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = new_parser(subparsers, "doctor", "say what is set up, what is not, and what to do", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="a line of JSON per finding")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if one is a problem."""
    logging.getLogger("infraprism").addHandler(logging.NullHandler())  # what is logged is among the findings
    found = list(findings())
    for finding in found:
        if args.json:
            line = exact_json.dumps(finding._asdict())
        else:
            advice = f"\n{'':9}{finding.advice}" if finding.advice else ""
            line = f"{finding.level:8} {finding.subject}: {finding.finding}{advice}"
        sys.stdout.write(line + "\n")
    return 1 if any(finding.level == "problem" for finding in found) else 0


def findings() -> Iterator[Finding]:
    """Everything, in the order of a call's way."""
    yield from _packages()
    yield from _switches()
    yield from _clients()
    yield from _other_tracing()
    try:
        settings = read_settings(os.environ, {})
    except SettingsError as error:
        yield Finding("problem", "settings", str(error), "No events are delivered until this is set right.")
        return
    yield from _settings(settings)
    yield from _endpoint(settings)


def _packages() -> Iterator[Finding]:
    for package in _PACKAGES:
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            if package != "opentelemetry-distro":
                yield Finding("problem", package, "not installed", "pip install infraprism-opentelemetry")


def _switches() -> Iterator[Finding]:
    for setting in SETTINGS:
        if setting.kind == "boolean":
            yield from _unreadable(setting)
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding("problem", "OTEL_SDK_DISABLED", "true, so nothing is observed", "Unset OTEL_SDK_DISABLED.")
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    names = {name.strip() for name in disabled.split(",")}
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.value.startswith("infraprism.") and names & {entry_point.name, "*"}:
            advice = f"Take {entry_point.name} out of it."
            yield Finding(
                "warning", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", f"switches {entry_point.name} off", advice
            )


def _unreadable(setting: Setting) -> Iterator[Finding]:
    try:
        if read_boolean(setting.name) and setting.name == "INFRAPRISM_DISABLED":
            yield Finding("problem", setting.name, "true, so nothing is observed", f"Unset {setting.name}.")
    except UnreadableSettingError:
        advice = f"Set it to {ALLOWED_BOOLEANS}, or unset it."
        yield Finding("problem", setting.name, f"is not a boolean, so {setting.unreadable}", advice)


def _clients() -> Iterator[Finding]:
    """Import and observe every client package for a moment, since only that tells whether it can be."""
    instrument(NoOpTracerProvider())
    try:
        broken = {client.package: _import_error(client.package) for client in status() if client.supported}
        clients = status()
    finally:
        uninstrument()
    for client in clients:
        if broken.get(client.package):
            advice = f"pip install --upgrade --force-reinstall {client.package}"
            yield Finding("problem", client.package, f"{client.installed_version} {broken[client.package]}", advice)
        elif client.instrumented:
            yield Finding("ok", client.package, f"{client.installed_version}, is observed")
        elif client.installed_version is None:
            yield Finding("ok", client.package, "not installed, so there is nothing to observe")
        else:
            yield Finding("problem", client.package, client.reason, f"pip install --upgrade {client.package}")
    if all(client.installed_version is None for client in clients):
        yield Finding(
            "warning",
            "client packages",
            "none is installed in this environment",
            "Run `infraprism doctor` with the Python of the app.",
        )


def _import_error(package: str) -> str:
    """Why a package cannot be imported, or nothing."""
    try:
        import_module(package)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is what the application will meet
        return f"cannot be imported: {type(error).__name__}: {error}"
    return ""


def _other_tracing() -> Iterator[Finding]:
    """Tracing that is configured beside ours; it is left as it is."""
    configurators = [entry_point.name for entry_point in entry_points(group="opentelemetry_configurator")]
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    file = os.environ.get("OTEL_CONFIG_FILE", "").strip()
    if configurators:
        yield Finding("ok", "OpenTelemetry configurator", f"{', '.join(configurators)}; ours works beside it")
    if exporters:
        yield Finding("ok", "OTEL_TRACES_EXPORTER", f"{exporters}; InfraPrism works beside it")
    if "infraprism" in exporters.split(",") and not configurators:
        yield Finding(
            "warning",
            "OTEL_TRACES_EXPORTER",
            "is read by a configurator only, and none is installed; events leave all the same",
            "pip install opentelemetry-distro, or unset it.",
        )
    if file:
        yield Finding("ok", "OTEL_CONFIG_FILE", "is set; `infraprism:` may stand under `exporter:` in it")
    if file and not os.path.isfile(file):  # noqa: PTH113  # a path as the user wrote it
        yield Finding("problem", "OTEL_CONFIG_FILE", "names a file that is not there", "Correct or unset it.")


def _settings(settings: Settings) -> Iterator[Finding]:
    if settings.preview:
        yield Finding("warning", "INFRAPRISM_PREVIEW", "events are shown and not sent", "Unset it to send them.")
    detail = "leaves too" if settings.usage_detail else "stays in the process"
    yield Finding("ok", "usage detail", f"{detail} (INFRAPRISM_USAGE_DETAIL)")
    if settings.can_authenticate:
        yield Finding("ok", "key", "is set")
    else:
        advice = "Set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it."
        yield Finding("problem", "key", "is not set, so no events are delivered", advice)
    local = settings.host.partition(":")[0] in ("localhost", "127.0.0.1", "[")
    if not settings.secure and not local:
        yield Finding("warning", "endpoint", "is not encrypted, and the key travels with it", "Use an https endpoint.")


def _endpoint(settings: Settings) -> Iterator[Finding]:
    if settings.protocol == "grpc":
        yield Finding(
            "warning",
            "endpoint",
            f"gRPC at {settings.host} was not tried: the REST API is on the HTTP port",
            "Run `infraprism doctor` with INFRAPRISM_PROTOCOL=http/protobuf to check backend and key.",
        )
        return
    api = Api(settings.url, settings.api_key)
    yield _tried("endpoint", api.is_healthy, f"{api.endpoint} answers", f"{api.endpoint} is not well: see its log")
    if settings.can_authenticate:
        yield _tried("key", lambda: bool(api.get("/v1/me")), "the backend takes it", "the backend does not know it")


def _tried(subject: str, attempt: Callable[[], bool], good: str, bad: str) -> Finding:
    try:
        return Finding("ok", subject, good) if attempt() else Finding("problem", subject, bad)
    except Failure as failure:
        what, _, advice = str(failure).partition(": ")
        return Finding("problem", subject, what, f"{advice[:1].upper()}{advice[1:]}." if advice else "")
