"""Switch the observation of client packages on and off, and say what is observed and why not.

No client package is imported for it: one that the application has imported is observed at once, and any other as soon
as the application imports it. A package's import lock may be held by a thread that waits for ours, so nothing is
imported, nor waited for otherwise, while ours is held.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from itertools import takewhile
from typing import Final, NamedTuple

from opentelemetry.trace import TracerProvider
from wrapt import register_post_import_hook

from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.call import delivery_stats, log
from infraprism.instrumentation.patching import Patches
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.tracing import Tracing
from infraprism.schema.settings import boolean

UNKNOWN: Final = "unknown"
"""The version of a package that is there, with nothing that says which one it is."""

_lock: Final = threading.RLock()
_applied: Final[dict[str, Patches]] = {}
_awaited: Final[dict[str, Tracing]] = {}
"""Where the calls of a package go that is observed as soon as the application imports it."""
_hooked: Final[set[str]] = set()
"""Packages whose import is heard of: a hook cannot be taken back, so there is one at a time."""
_failures: Final[dict[str, str]] = {}
_automatic: Final = Tracing()


class ProviderStatus(NamedTuple):
    """What is the matter with one client package.

    `instrumented` is true as well of a package that the application has not imported yet, and that is observed as soon
    as it does. `reason` says in a sentence why it is not instrumented, and is empty where it is. `installed_version` is
    `unknown` where the package is there without what package managers write about it.
    """

    name: str
    package: str
    installed_version: str | None
    supported: bool
    instrumented: bool
    reason: str


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Observe the calls of every supported client package that is installed. Imports none, and raises nothing.

    A package that the application imports later is observed from then on.

    The spans go to `tracer_provider` if one is given. Otherwise they go to the application's global provider if that
    has an InfraPrism processor or exporter, and to a private one with an InfraPrism processor if not. What is
    instrumented already stays as it is, until `uninstrument`. With `INFRAPRISM_DISABLED=true` it does nothing.
    """
    if boolean("INFRAPRISM_DISABLED"):
        return
    tracing = _automatic if tracer_provider is None else Tracing(tracer_provider)
    apply(PACKAGES, tracing)
    if tracer_provider is None and (_applied or _awaited) and not tracing.is_ready():
        tracing.prepare()


def uninstrument() -> None:
    """Put every original of the client packages back. Calls under way are still seen to their end. Raises nothing."""
    remove(PACKAGES)


def status() -> list[ProviderStatus]:
    """What is instrumented, and what is not and why. Imports no client package."""
    return [_status(package) for package in PACKAGES]


def apply(packages: Iterable[ClientPackage], tracing: Tracing) -> None:
    """Observe these packages where they are installed and new enough, now or once they are imported. Raises nothing."""
    for package in packages:
        if _status(package).supported and _is_awaited(package, tracing):
            if package.base_module in sys.modules:
                _imported(package)
            else:
                _hear_of(package)


def remove(packages: Iterable[ClientPackage]) -> None:
    """Put the originals of these packages back. Raises nothing."""
    with _lock:
        for package in packages:
            _awaited.pop(package.name, None)
            _failures.pop(package.name, None)
            patches = _applied.pop(package.name, None)
            if patches is not None:
                patches.restore()


def _is_awaited(package: ClientPackage, tracing: Tracing) -> bool:
    with _lock:
        if package.name in _applied:
            return False
        _awaited.setdefault(package.name, tracing)
        return True


def _hear_of(package: ClientPackage) -> None:
    with _lock:
        if package.name in _hooked:
            return
        _hooked.add(package.name)

    def imported(_: object) -> None:
        _hooked.discard(package.name)
        _imported(package)

    register_post_import_hook(imported, package.base_module)


def _imported(package: ClientPackage) -> None:
    """Observe a package that the application has imported, or is importing in another thread: that is waited for.

    Raises nothing, since what is raised here would come out of the application's import.
    """
    try:
        base = importlib.import_module(package.base_module)
        with _lock:
            if package.name not in _awaited:
                return
            patches = package.patches(base, _awaited.pop(package.name))
            patches.apply()
            _applied[package.name] = patches
            _failures.pop(package.name, None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - rule: no error of ours reaches the application
        _failed(package, f"has a shape that InfraPrism does not know: {error}")


def _failed(package: ClientPackage, reason: str) -> None:
    """Say why this package is left alone, while handling the error: the application must start all the same."""
    log.warning("InfraPrism does not observe %s: it %s", package.name, reason, exc_info=True)
    delivery_stats.error(f"instrument.{package.name}")
    with _lock:
        _awaited.pop(package.name, None)
        _failures[package.name] = reason


def _status(package: ClientPackage) -> ProviderStatus:
    installed = _installed(package)
    supported = installed is not None and (installed == UNKNOWN or _release(installed) >= package.oldest)
    instrumented = package.name in _applied or package.name in _awaited
    if installed is None:
        reason = "it is not installed"
    elif not supported:
        oldest = ".".join(map(str, package.oldest))
        reason = f"version {installed} is too old: {oldest} is the oldest supported"
    elif package.name in _failures:
        reason = f"version {installed} {_failures[package.name]}"
    else:
        disabled = not instrumented and boolean("INFRAPRISM_DISABLED")
        reason = "" if instrumented else "INFRAPRISM_DISABLED is set" if disabled else "instrument() was not called"
    return ProviderStatus(package.name, package.name, installed, supported, instrumented, reason)


def _installed(package: ClientPackage) -> str | None:
    """The version that is installed, `UNKNOWN` where nothing says it, or None. Imports nothing of the package."""
    try:
        found = version(package.name)
    except Exception:  # noqa: BLE001 - not only PackageNotFoundError: what is left of a broken installation can be anything
        found = None
    if isinstance(found, str):
        return found
    # Bundled applications leave out what package managers write, and bring the package all the same.
    try:
        spec = find_spec(package.name)
        places = None if spec is None else spec.submodule_search_locations
        module = None if places is None else PathFinder.find_spec(package.base_module, places)
    except Exception:  # noqa: BLE001 - a finder of somebody else, or a stand-in of a test in sys.modules
        return None
    return None if module is None else UNKNOWN


def _release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: `1.55.3rc1` is (1, 55, 3)."""
    parts = ("".join(takewhile(str.isdigit, part)) for part in text.split("."))
    return tuple(int(part) for part in takewhile(bool, parts))
