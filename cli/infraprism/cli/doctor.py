"""`infraprism doctor`: checks the installation, the settings, the client packages and the backend."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import Final, Literal, NamedTuple

from opentelemetry.trace import NoOpTracerProvider

from infraprism.cli import exact_json
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api
from infraprism.exporter import SettingsError
from infraprism.exporter.settings import Settings, read_settings
from infraprism.instrumentation import NOT_OBSERVED, instrument, status, uninstrument
from infraprism.schema.settings import (
    ALLOWED_BOOLEANS,
    SETTINGS,
    Setting,
    UnreadableSettingError,
    boolean,
    read_boolean,
)

_EXAMPLES: Final = """\
Run it with the Python and the environment variables of the app. It sends no event and never prints the key.
Exit status 1 if there is a problem.

examples:
  infraprism doctor
  infraprism doctor --json"""
_PACKAGES: Final = (
    "infraprism-opentelemetry",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "opentelemetry-distro",
)

_RECORDING_SAMPLERS: Final = ("always_on", "parentbased_always_on")
_KNOWN_SAMPLERS: Final = ("always_off", "traceidratio", "parentbased_always_off", "parentbased_traceidratio")
_PREFIX: Final = "INFRAPRISM_"

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """The result of one check. `advice` is what to do, and empty where there is nothing to do."""

    level: Level
    subject: str
    finding: str
    advice: str = ""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "doctor", "check the setup and advise what to change", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="one line of JSON per finding")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the findings. Returns 1 if one is a problem, else 0."""
    logging.getLogger("infraprism").addHandler(logging.NullHandler())  # what would be logged is a finding
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
    """All findings: packages, settings, client packages, other tracing, connection to the backend."""
    yield from _packages()
    yield from _variables()
    yield from _clients()
    yield from _not_observed()
    yield from _sampler()
    yield from _other_tracing()
    try:
        settings = read_settings(os.environ, {})
    except SettingsError as error:
        yield Finding("problem", "settings", str(error), "No events are sent until this is fixed.")
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


def _variables() -> Iterator[Finding]:
    yield from _unknown_variables()
    for setting in SETTINGS:
        if setting.kind == "boolean":
            yield from _boolean(setting)
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding("problem", "OTEL_SDK_DISABLED", "is true, so no call is recorded", "Unset OTEL_SDK_DISABLED.")
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    names = {name.strip() for name in disabled.split(",")}
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.value.startswith("infraprism.") and names & {entry_point.name, "*"}:
            advice = f"Remove {entry_point.name} from it."
            yield Finding("warning", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", f"disables {entry_point.name}", advice)


def _unknown_variables() -> Iterator[Finding]:
    """Variables with our prefix that no part of InfraPrism reads, such as misspelled ones."""
    known = {setting.name.removeprefix(_PREFIX): setting.name for setting in SETTINGS}
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name not in known.values():
            nearest = get_close_matches(name.upper().removeprefix(_PREFIX), known, n=1)
            advice = f"Did you mean {known[nearest[0]]}?" if nearest else f"Known are {', '.join(known.values())}."
            yield Finding("warning", name, "is not a setting of InfraPrism and has no effect", advice)


def _boolean(setting: Setting) -> Iterator[Finding]:
    try:
        if read_boolean(setting.name) and setting.name == "INFRAPRISM_DISABLED":
            yield Finding("problem", setting.name, "is true, so no call is recorded", f"Unset {setting.name}.")
    except UnreadableSettingError:
        advice = f"Set it to {ALLOWED_BOOLEANS}, or unset it."
        yield Finding("problem", setting.name, f"is not a boolean, so {setting.unreadable}", advice)


def _clients() -> Iterator[Finding]:
    """Import and instrument every client package for a moment: whether that works is not known before."""
    disabled = boolean("INFRAPRISM_DISABLED")
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
            yield Finding("ok", client.package, f"{client.installed_version}, can be instrumented")
        elif client.installed_version is None:
            yield Finding("ok", client.package, "is not installed")
        elif client.supported and disabled:
            yield Finding("ok", client.package, f"{client.installed_version}, is not instrumented: {client.reason}")
        else:
            yield Finding("problem", client.package, client.reason, f"pip install --upgrade {client.package}")
    if all(client.installed_version is None for client in clients):
        advice = "Run `infraprism doctor` with the Python of the app."
        yield Finding("warning", "client packages", "none is installed in this environment", advice)


def _not_observed() -> Iterator[Finding]:
    """Requests of the client packages that have no event."""
    for package, requests in NOT_OBSERVED.items():
        if find_spec(package) is not None:
            yield Finding("ok", f"{package} requests", f"not observed, so not in the costs: {', '.join(requests)}")


def _sampler() -> Iterator[Finding]:
    """A sampler that drops spans of other instrumentations before the span processor receives them."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler and sampler not in _RECORDING_SAMPLERS:
        yield Finding(
            "warning",
            "OTEL_TRACES_SAMPLER",
            f"{_shown(sampler)} drops spans, so calls that other instrumentations report are missing from the costs;"
            " calls that InfraPrism instruments are counted",
            "Use AlwaysRecordSampler of opentelemetry.sdk.trace.sampling around it: see README.md, Sampling.",
        )


def _shown(sampler: str) -> str:
    return sampler if sampler in _KNOWN_SAMPLERS else "a sampler"


def _import_error(package: str) -> str:
    """Why a package cannot be imported; empty if it can."""
    try:
        import_module(package)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the application will get the same error
        return f"cannot be imported: {type(error).__name__}: {error}"
    return ""


def _other_tracing() -> Iterator[Finding]:
    """Other tracing that is configured; InfraPrism does not change it."""
    configurators = [entry_point.name for entry_point in entry_points(group="opentelemetry_configurator")]
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    file = os.environ.get("OTEL_CONFIG_FILE", "").strip()
    if configurators:
        yield Finding("ok", "OpenTelemetry configurator", f"{', '.join(configurators)}; works together with InfraPrism")
    if exporters:
        yield Finding("ok", "OTEL_TRACES_EXPORTER", f"{exporters}; works together with InfraPrism")
    if "infraprism" in exporters.split(",") and not configurators:
        yield Finding(
            "warning",
            "OTEL_TRACES_EXPORTER",
            "has no effect, since no configurator is installed; InfraPrism sends events without it",
            "pip install opentelemetry-distro, or unset it.",
        )
    if file:
        yield Finding("ok", "OTEL_CONFIG_FILE", "is set; the file can use `infraprism:` under `exporter:`")
    if file and not os.path.isfile(file):  # noqa: PTH113  # a path as the user wrote it
        yield Finding("problem", "OTEL_CONFIG_FILE", "names a file that does not exist", "Correct or unset it.")


def _settings(settings: Settings) -> Iterator[Finding]:
    if settings.preview:
        yield Finding("warning", "INFRAPRISM_PREVIEW", "events are printed and not sent", "Unset it to send them.")
    detail = "is sent" if settings.usage_detail else "is not sent"
    yield Finding("ok", "usage detail", f"{detail} (INFRAPRISM_USAGE_DETAIL)")
    if settings.can_authenticate:
        yield Finding("ok", "key", "is set")
    else:
        advice = "Set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it."
        yield Finding("problem", "key", "is not set, so no events are sent", advice)
    local = settings.host.partition(":")[0] in ("localhost", "127.0.0.1", "[")
    if not settings.secure and not local:
        yield Finding("warning", "endpoint", "is not encrypted, and the key is sent to it", "Use an https endpoint.")


def _endpoint(settings: Settings) -> Iterator[Finding]:
    if settings.protocol == "grpc":
        yield Finding(
            "warning",
            "endpoint",
            f"gRPC at {settings.host} was not checked: the REST API is on the HTTP port",
            "Run `infraprism doctor` with INFRAPRISM_PROTOCOL=http/protobuf to check the backend and the key.",
        )
        return
    api = Api(settings.url, settings.api_key)
    healthy, unhealthy = f"{api.endpoint} answers", f"{api.endpoint} reports that it is unhealthy: see its log"
    yield _checked("endpoint", api.is_healthy, healthy, unhealthy)
    if settings.can_authenticate:
        yield _checked("key", lambda: bool(api.get("/v1/me")), "the backend accepts it", "the backend rejects it")


def _checked(subject: str, check: Callable[[], bool], good: str, bad: str) -> Finding:
    try:
        return Finding("ok", subject, good) if check() else Finding("problem", subject, bad)
    except Failure as failure:
        finding, _, advice = str(failure).partition(": ")
        return Finding("problem", subject, finding, f"{advice[:1].upper()}{advice[1:]}." if advice else "")
