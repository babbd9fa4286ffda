"""What happens when `opentelemetry-instrument` starts an application.

The application asked for nothing and changes nothing, so its telemetry stays as it is byte for byte: our own spans go
to a private provider. Beside the application's provider, whenever there is one, stands our processor, so that calls
which other instrumentations report are counted as well. Every error is kept from the application.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED

from infraprism.instrumentation import instrumentor
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.call import delivery_stats, log
from infraprism.instrumentation.patching import Function, Patch, Switch
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.tracing import Borrowed, Forwarding, Tracing, delivery_in, record_attributions
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema.settings import boolean

_tracing: Final = Tracing(private=True)


def enabled() -> bool:
    """Whether the environment lets us work."""
    sdk_disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    return not (sdk_disabled or boolean("INFRAPRISM_DISABLED"))


class _Hook:
    """Sets up the private provider, and stands beside the application's, now and when it comes later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processor: InfraPrismSpanProcessor | None = None
        self._beside: weakref.WeakSet[Any] = weakref.WeakSet()

    def run(self) -> None:
        """Do it once."""
        with self._lock:
            if self._processor is not None:
                return
            provider = trace.get_tracer_provider()
            delivery = delivery_in(provider)
            if delivery is None:
                self._processor = InfraPrismSpanProcessor()
                self._attach_processor(provider)
            elif delivery.exporter is not None:
                self._processor = InfraPrismSpanProcessor(Borrowed(delivery.exporter))
                record_attributions(provider, delivery)
            else:
                self._processor = delivery.processor
            _tracing.prepare(self._processor, ours=delivery is None or delivery.processor is None)
            Patch(trace, "set_tracer_provider", self._attached).apply()

    def _attach_processor(self, provider: Any) -> None:
        if self._processor is None or provider in self._beside or not hasattr(provider, "add_span_processor"):
            return
        delivery = delivery_in(provider)
        if delivery is None:
            provider.add_span_processor(Forwarding(self._processor))
        else:
            record_attributions(provider, delivery)
        self._beside.add(provider)

    def _attached(self, original: Function, switch: Switch) -> Function:
        @wraps(original)
        def set_tracer_provider(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if switch.on:
                quietly("zero_code.attach", lambda: self._attach_processor(trace.get_tracer_provider()))
            return result

        return set_tracer_provider


def quietly(where: str, work: Callable[[], None]) -> None:
    """Do the work; an error is counted and logged, and reaches nobody."""
    try:
        work()
    except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
        delivery_stats.error(where)
        log.warning("InfraPrism is not at work: %s", where, exc_info=True)


_hook: Final = _Hook()


def attach_processor() -> None:
    """Set up delivery, beside whatever the application has or will have. Raises nothing; twice does nothing more."""
    if enabled():
        quietly("zero_code.hook", _hook.run)


def observe(package: str, provider: trace.TracerProvider | None = None) -> None:
    """Observe one client package, by name; where it is missing or too old, do nothing."""
    if enabled():
        instrumentor.apply(_named(package), _tracing if provider is None else Tracing(provider))


def leave(package: str) -> None:
    """Put the originals of one client package back, by name."""
    instrumentor.remove(_named(package))


def _named(name: str) -> list[ClientPackage]:
    return [package for package in PACKAGES if package.name == name]
