"""Entry points of `opentelemetry-instrument`: a pre-instrument hook, and an instrumentor for each client package.

This module imports other InfraPrism packages only within functions, so that it can be imported even if one of them
cannot: an error here, also an import error, would stop all other instrumentations of the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it is untyped

_log: Final = logging.getLogger("infraprism.instrumentation")


def pre_instrument() -> None:
    """The `opentelemetry_pre_instrument` hook. Raises nothing; further calls do nothing."""

    def run() -> None:
        from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

        zero_code.attach_processor()

    _log_errors(run)


class _PackageInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base class is untyped
    """Instruments one client package. A package that is missing or too old is skipped."""

    package = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a missing package is not a dependency conflict."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        def run() -> None:
            from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

            zero_code.instrument_package(self.package, kwargs.get("tracer_provider"))

        _log_errors(run)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the signature of the base class
        def run() -> None:
            from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

            zero_code.uninstrument_package(self.package)

        _log_errors(run)


class OpenAIInstrumentor(_PackageInstrumentor):
    """Instruments the openai package."""

    package = "openai"


class AnthropicInstrumentor(_PackageInstrumentor):
    """Instruments the anthropic package."""

    package = "anthropic"


def _log_errors(run: Callable[[], None]) -> None:
    try:
        run()
    except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
        _log.warning("InfraPrism is not active", exc_info=True)
