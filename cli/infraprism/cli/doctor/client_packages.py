"""Client packages: which are instrumented, which are not observed, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from opentelemetry.trace import NoOpTracerProvider

from infraprism.cli.doctor.distributions import untested, version_of
from infraprism.cli.doctor.finding import Finding
from infraprism.cli.doctor.unobserved_packages import UNOBSERVED, Unobserved
from infraprism.instrumentation import NOT_OBSERVED, instrument, status, uninstrument
from infraprism.instrumentation.stream_usage import VARIABLE as STREAM_USAGE
from infraprism.providers.detection import OTHER, provider_of
from infraprism.schema.settings import boolean

_BASE_URLS: Final = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL")


def instrumented() -> Iterator[Finding]:
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


def _import_error(package: str) -> str:
    """Why a package cannot be imported; empty if it can."""
    try:
        import_module(package)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the application will get the same error
        return f"cannot be imported: {type(error).__name__}: {error}"
    return ""


def versions() -> Iterator[Finding]:
    """Client packages that can be instrumented, in versions that are not tested."""
    for client in status():
        if client.supported and client.installed_version is not None:
            finding = untested(client.package, client.installed_version)
            if finding is not None:
                yield finding._replace(subject=f"{client.package} version")


def unobserved() -> Iterator[Finding]:
    """Client packages that InfraPrism does not instrument, and whether another instrumentation does."""
    instrumented_names = {client.package for client in status()}
    for row in UNOBSERVED:
        if row.package not in instrumented_names and (found := version_of(row.package)) is not None:
            yield _unobserved(row, found)


def _unobserved(row: Unobserved, found: str) -> Finding:
    observers = [name for name in row.instrumentations if version_of(name) is not None]
    if observers:
        return Finding("ok", row.package, f"{found}, is observed through {', '.join(observers)}")
    advice = row.advice or f"pip install {row.instrumentations[0]}"
    if row.compatible_url:
        advice += f"; or use the openai package with base_url={row.compatible_url}"
    return Finding("warning", row.package, f"{found} is installed, but {row.calls} are not observed", advice)


def unobserved_requests() -> Iterator[Finding]:
    """Requests of the instrumented client packages that have no event."""
    for package, requests in NOT_OBSERVED.items():
        if find_spec(package) is not None:
            yield Finding("ok", f"{package} requests", f"not observed, so not in the costs: {', '.join(requests)}")


def gateways() -> Iterator[Finding]:
    """Servers that may be gateways, which could send events of the same calls."""
    for name in _BASE_URLS:
        value = os.environ.get(name, "").strip()
        if value and provider_of(value, None, None) == OTHER:
            yield Finding(
                "ok",
                name,
                "names a server of no known provider, perhaps a gateway",
                "If the gateway uses the InfraPrism exporter as well, each call counts twice:"
                " set INFRAPRISM_DISABLED=true in one of the two.",
            )


def stream_usage() -> Iterator[Finding]:
    """Streams that report usage only on request."""
    if version_of("openai") is None:
        return
    if boolean(STREAM_USAGE):
        yield Finding("ok", "stream usage", f"is requested where the server accepts it ({STREAM_USAGE})")
        return
    finding = "is reported by chat completions only if the app passes stream_options={'include_usage': True}"
    yield Finding(
        "ok", "stream usage", finding, f"If it does not, set {STREAM_USAGE}=true; else such calls have no cost."
    )
