"""Switch the observation of client packages on and off, and say what is observed and why not."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from typing import Final, NamedTuple

from opentelemetry.trace import TracerProvider

from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.call import log, tally
from infraprism.instrumentation.patching import Patches
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.tracing import Tracing

_lock: Final = threading.RLock()
_applied: Final[dict[str, Patches]] = {}
_unknown_shape: Final[set[str]] = set()
_automatic: Final = Tracing()


class ProviderStatus(NamedTuple):
    """What is the matter with one client package.

    `reason` says in a sentence why it is not instrumented, and is empty where it is.
    """

    name: str
    package: str
    installed_version: str | None
    supported: bool
    instrumented: bool
    reason: str


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Observe the calls of every supported client package that is installed. Raises nothing.

    The spans go to `tracer_provider` if one is given. Otherwise they go to the application's global provider if that
    has an InfraPrism processor or exporter, and to a private one with an InfraPrism processor if not. What is
    instrumented already stays as it is, until `uninstrument`.
    """
    tracing = _automatic if tracer_provider is None else Tracing(tracer_provider)
    apply(PACKAGES, tracing)
    if tracer_provider is None and _applied and not tracing.is_ready():
        tracing.prepare()


def uninstrument() -> None:
    """Put every original of the client packages back. Calls under way are still seen to their end. Raises nothing."""
    remove(PACKAGES)


def status() -> list[ProviderStatus]:
    """What is instrumented, and what is not and why. Imports no client package."""
    return [_status(package) for package in PACKAGES]


def apply(packages: Iterable[ClientPackage], tracing: Tracing) -> None:
    """Observe these packages where they are installed and new enough. Raises nothing."""
    with _lock:
        for package in packages:
            if package.name not in _applied and _status(package).supported:
                _apply(package, tracing)


def remove(packages: Iterable[ClientPackage]) -> None:
    """Put the originals of these packages back. Raises nothing."""
    with _lock:
        for package in packages:
            patches = _applied.pop(package.name, None)
            if patches is not None:
                patches.restore()


def _apply(package: ClientPackage, tracing: Tracing) -> None:
    _unknown_shape.discard(package.name)
    try:
        patches = package.patches(tracing)
        patches.apply()
    except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
        # A version we do not know, or one that cannot be imported: the application must start all the same.
        log.warning("InfraPrism does not observe %s: it has an unknown shape", package.name, exc_info=True)
        tally.error(f"instrument.{package.name}")
        _unknown_shape.add(package.name)
    else:
        _applied[package.name] = patches


def _status(package: ClientPackage) -> ProviderStatus:
    try:
        installed = version(package.name)
    except PackageNotFoundError:
        return ProviderStatus(
            package.name, package.name, None, supported=False, instrumented=False, reason="it is not installed"
        )
    supported = _release(installed) >= package.oldest
    if not supported:
        oldest = ".".join(map(str, package.oldest))
        reason = f"version {installed} is too old: {oldest} is the oldest supported"
    elif package.name in _unknown_shape:
        reason = f"version {installed} has an unknown shape"
    else:
        reason = "" if package.name in _applied else "instrument() was not called"
    return ProviderStatus(package.name, package.name, installed, supported, package.name in _applied, reason)


def _release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: `1.55.3rc1` is (1, 55, 3)."""
    parts = ("".join(takewhile(str.isdigit, part)) for part in text.split("."))
    return tuple(int(part) for part in takewhile(bool, parts))
