"""Zero-code instrumentation: what `opentelemetry-instrument` runs when it starts an application.

The application configures nothing, so its telemetry must remain byte for byte the same: our spans go to a private
provider. If the application has a tracer provider, now or later, the InfraPrism processor is added to it, so that calls
which other instrumentations report are counted too. No error reaches the application.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED

from infraprism.instrumentation import instrumentor
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.installed_components import (
    SharedExporter,
    SharedProcessor,
    add_attribution_recorder,
    find_installed,
)
from infraprism.instrumentation.llm_call import delivery_stats, log
from infraprism.instrumentation.patching import Function, Patch, Switch
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.tracing import CallTracer
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.native_threads import Lock
from infraprism.schema.settings import boolean

_tracer: Final = CallTracer(private=True)


def enabled() -> bool:
    """Whether the environment enables InfraPrism and the SDK."""
    sdk_disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    return not (sdk_disabled or boolean("INFRAPRISM_DISABLED"))


class _Setup:
    """Creates the private provider, and adds the processor to the application's provider, also to one set later."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._processor: InfraPrismSpanProcessor | None = None
        self._attached_to: weakref.WeakSet[Any] = weakref.WeakSet()

    def run(self) -> None:
        """Set up once; further calls do nothing."""
        with self._lock:
            if self._processor is not None:
                return
            provider = trace.get_tracer_provider()
            installed = find_installed(provider)
            if installed is None:
                self._processor = InfraPrismSpanProcessor()
                self._attach_processor(provider)
            elif installed.exporter is not None:
                self._processor = InfraPrismSpanProcessor(SharedExporter(installed.exporter))
                add_attribution_recorder(provider, installed)
            else:
                self._processor = installed.processor
            _tracer.prepare(self._processor, owned=installed is None or installed.processor is None)
            Patch(trace, "set_tracer_provider", self._attaching).apply()

    def _attach_processor(self, provider: Any) -> None:
        if self._processor is None or provider in self._attached_to or not hasattr(provider, "add_span_processor"):
            return
        installed = find_installed(provider)
        if installed is None:
            provider.add_span_processor(SharedProcessor(self._processor))
        else:
            add_attribution_recorder(provider, installed)
        self._attached_to.add(provider)

    def _attaching(self, original: Function, switch: Switch) -> Function:
        @wraps(original)
        def set_tracer_provider(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if switch.on:
                log_errors("zero_code.attach", lambda: self._attach_processor(trace.get_tracer_provider()))
            return result

        return set_tracer_provider


def log_errors(place: str, run: Callable[[], None]) -> None:
    """Run the function. An error is counted and logged, and not raised."""
    try:
        run()
    except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
        delivery_stats.error(place)
        log.warning("InfraPrism is not active: %s", place, exc_info=True)


_setup: Final = _Setup()


def attach_processor() -> None:
    """Set up export, for the application's current and later providers. Raises nothing; further calls do nothing."""
    if enabled():
        log_errors("zero_code.setup", _setup.run)


def instrument_package(name: str, provider: trace.TracerProvider | None = None) -> None:
    """Instrument one client package. If it is missing or too old, do nothing."""
    if enabled():
        instrumentor.instrument_packages(_named(name), _tracer if provider is None else CallTracer(provider))


def uninstrument_package(name: str) -> None:
    """Restore the originals of one client package."""
    instrumentor.uninstrument_packages(_named(name))


def _named(name: str) -> list[ClientPackage]:
    return [package for package in PACKAGES if package.name == name]
