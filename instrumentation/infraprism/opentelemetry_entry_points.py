"""What `opentelemetry-instrument` loads: a hook, and an instrumentor for each client package.

It stands alone beside the parts, and imports them only inside of functions, since it loads whatever else is broken:
an error that got out of here, even one of an import, would stop all other instrumentations of the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it is untyped

_log: Final = logging.getLogger("infraprism.instrumentation")


def pre_instrument() -> None:
    """The `opentelemetry_pre_instrument` hook. Raises nothing; doing it twice does nothing more."""

    def work() -> None:
        from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

        zero_code.attach_processor()

    _quietly(work)


class _PackageInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base class is untyped
    """Observes one client package. One that is missing or too old is skipped."""

    package = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a package that is missing is no conflict."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        def work() -> None:
            from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

            zero_code.observe(self.package, kwargs.get("tracer_provider"))

        _quietly(work)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        def work() -> None:
            from infraprism.instrumentation import zero_code  # noqa: PLC0415 - see the module

            zero_code.leave(self.package)

        _quietly(work)


class OpenAIInstrumentor(_PackageInstrumentor):
    """Observes the openai package."""

    package = "openai"


class AnthropicInstrumentor(_PackageInstrumentor):
    """Observes the anthropic package."""

    package = "anthropic"


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
        _log.warning("InfraPrism is not at work", exc_info=True)
