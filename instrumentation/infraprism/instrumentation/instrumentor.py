"""Instrument and uninstrument client packages, and report the status of each.

No client package is imported for it: a package that the application has imported is instrumented at once, and any other
one when the application imports it. A thread that holds the import lock of a package may be waiting for the lock of
this module, so nothing is imported, nor waited for in another way, while this module's lock is held.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from itertools import takewhile
from typing import Final, NamedTuple

from opentelemetry.trace import TracerProvider
from wrapt import register_post_import_hook

from infraprism.instrumentation import background
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.llm_call import delivery_stats, log
from infraprism.instrumentation.patching import Patches
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.tracing import CallTracer
from infraprism.schema.native_threads import ReentrantLock
from infraprism.schema.settings import boolean

UNKNOWN: Final = "unknown"
"""The version of a package that is installed without metadata."""

_lock: Final = ReentrantLock()
_applied: Final[dict[str, Patches]] = {}
_pending: Final[dict[str, CallTracer]] = {}
"""The tracer of each package that is instrumented when the application imports it."""
_hooked: Final[set[str]] = set()
"""Packages with a post-import hook. A hook cannot be removed, so each package has at most one at a time."""
_failures: Final[dict[str, str]] = {}
_default_tracer: Final = CallTracer()


class ProviderStatus(NamedTuple):
    """The status of one client package.

    `instrumented` is also true for a package that the application has not imported yet, and that will be instrumented
    on import. `reason` is a sentence that explains why it is not instrumented, and empty if it is. `installed_version`
    is `unknown` if the package is installed without metadata.
    """

    name: str
    package: str
    installed_version: str | None
    supported: bool
    instrumented: bool
    reason: str


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Instrument every supported client package that is installed. Imports none, and raises nothing.

    A package that the application imports later is instrumented on import.

    The spans go to `tracer_provider` if one is given. Otherwise they go to the application's global provider if that
    has an InfraPrism processor or exporter, else to a private provider with an InfraPrism processor. Packages that are
    instrumented already remain unchanged until `uninstrument`. With `INFRAPRISM_DISABLED=true` it does nothing.
    """
    if boolean("INFRAPRISM_DISABLED"):
        return
    tracer = _default_tracer if tracer_provider is None else CallTracer(tracer_provider)
    instrument_packages(PACKAGES, tracer)
    if tracer_provider is None and (_applied or _pending) and not tracer.uses_application_provider():
        tracer.prepare()


def uninstrument() -> None:
    """Restore all originals of the client packages. Calls in progress are still recorded. Raises nothing."""
    uninstrument_packages(PACKAGES)


def status() -> list[ProviderStatus]:
    """Which packages are instrumented, and why others are not. Imports no client package."""
    return [_status(package) for package in PACKAGES]


def instrument_packages(packages: Iterable[ClientPackage], tracer: CallTracer) -> None:
    """Instrument these packages if they are installed and supported, now or on import. Raises nothing."""
    for package in packages:
        if _status(package).supported and _mark_pending(package, tracer):
            if package.base_module in sys.modules:
                _patch(package)
            else:
                _patch_on_import(package)


def uninstrument_packages(packages: Iterable[ClientPackage]) -> None:
    """Restore the originals of these packages. Raises nothing."""
    with _lock:
        for package in packages:
            _pending.pop(package.name, None)
            _failures.pop(package.name, None)
            patches = _applied.pop(package.name, None)
            if patches is not None:
                patches.restore()
    background.forget()


def _mark_pending(package: ClientPackage, tracer: CallTracer) -> bool:
    """False if the package is instrumented already."""
    with _lock:
        if package.name in _applied:
            return False
        _pending.setdefault(package.name, tracer)
        return True


def _patch_on_import(package: ClientPackage) -> None:
    with _lock:
        if package.name in _hooked:
            return
        _hooked.add(package.name)

    def on_import(_: object) -> None:
        _hooked.discard(package.name)
        _patch(package)

    register_post_import_hook(on_import, package.base_module)


def _patch(package: ClientPackage) -> None:
    """Patch a package that the application has imported. Waits for another thread that is importing it.

    Raises nothing, since an error would be raised by the application's import.
    """
    try:
        base = importlib.import_module(package.base_module)
        with _lock:
            if package.name not in _pending:
                return
            patches = package.patches(base, _pending.pop(package.name))
            patches.apply()
            _applied[package.name] = patches
            _failures.pop(package.name, None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - rule: no internal error reaches the application
        _record_failure(package, f"has an unknown structure: {error}")


def _record_failure(package: ClientPackage, reason: str) -> None:
    """Record why this package is not instrumented. Call it in the `except` block of the error."""
    log.warning("InfraPrism does not instrument %s: it %s", package.name, reason, exc_info=True)
    delivery_stats.error(f"instrument.{package.name}")
    with _lock:
        _pending.pop(package.name, None)
        _failures[package.name] = reason


def _status(package: ClientPackage) -> ProviderStatus:
    installed = _installed_version(package)
    supported = installed is not None and (installed == UNKNOWN or release(installed) >= package.oldest)
    instrumented = package.name in _applied or package.name in _pending
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


def _installed_version(package: ClientPackage) -> str | None:
    """The installed version, `UNKNOWN` if there is no metadata, or None. Imports nothing of the package."""
    try:
        found = version(package.name)
    except Exception:  # noqa: BLE001 - not only PackageNotFoundError: a damaged installation can raise anything
        found = None
    if isinstance(found, str):
        return found
    # Bundled applications contain the package without its metadata.
    try:
        spec = find_spec(package.name)
        places = None if spec is None else spec.submodule_search_locations
        module = None if places is None else PathFinder.find_spec(package.base_module, places)
    except Exception:  # noqa: BLE001 - a third-party finder, or a mock in sys.modules
        return None
    return None if module is None else UNKNOWN


def release(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: `1.55.3rc1` is (1, 55, 3)."""
    parts = ("".join(takewhile(str.isdigit, part)) for part in text.split("."))
    return tuple(int(part) for part in takewhile(bool, parts))
