"""Warns if the application's sampler drops spans of LLM calls before the processor receives them.

The processor receives recorded spans only, so calls that other instrumentations report are missing from the costs, and
their number is unknown. Calls that InfraPrism instruments itself are counted whatever the sampler decides.

A sampler that drops every span never calls the processor. It is found at the provider, at the first call of our own
instrumentation, at a flush and at shutdown. Then a loaded module shows that another instrumentation is in use.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from opentelemetry.sdk.trace import Span

from infraprism.dialects import DIALECTS

_RECORDS_ALL: Final = (
    "AlwaysOnSampler",
    "AlwaysRecordSampler{",
    "ParentBased{root:AlwaysOnSampler,",
    "ParentBased{root:AlwaysRecordSampler{",
)
"""How the descriptions of samplers begin that drop no span of a trace that starts in the process."""
_DROPS_ALL: Final = tuple(
    start + name
    for name in ("AlwaysOffSampler", "TraceIdRatioBased{0}", "TraceIdRatioBased{0.0}")
    for start in ("", "ParentBased{root:")
)
"""How the descriptions of samplers begin that drop every span of a trace that starts in the process."""
_OPENTELEMETRY: Final = "opentelemetry.instrumentation."
_NAMES: Final = {
    *(scope for dialect in DIALECTS for scope in dialect.scopes if scope.startswith(_OPENTELEMETRY)),
    *("openinference.instrumentation.", "openlit.instrumentation.", "opentelemetry.instrumentation.genai."),
}
_MODULES: Final = frozenset(name for name in _NAMES if not name.endswith("."))
_MODULE_PREFIXES: Final = tuple(sorted(name for name in _NAMES if name.endswith(".")))
"""Modules and packages that only an application with another GenAI instrumentation loads."""
_log: Final = logging.getLogger("infraprism.processor")


def warn_if_dropping(span: Span) -> None:
    """Log a warning if the sampler that recorded this span drops others."""
    # Not public; the same in every supported version of the SDK.
    sampler = getattr(span, "_sampler", None)
    if sampler is None or str(sampler.get_description()).startswith(_RECORDS_ALL):
        return
    _warn("spans")


def warn_if_dropping_all(provider: Any) -> bool:
    """Log a warning if the provider drops every span and another instrumentation is loaded. Returns whether it did."""
    # A public attribute of the SDK's provider. The API's provider has no sampler.
    sampler = getattr(provider, "sampler", None)
    if sampler is None or not str(sampler.get_description()).startswith(_DROPS_ALL):
        return False
    loaded = tuple(sys.modules)
    if _MODULES.isdisjoint(loaded) and not any(name.startswith(_MODULE_PREFIXES) for name in loaded):
        return False
    _warn("all spans")
    return True


def _warn(dropped: str) -> None:
    _log.warning(
        "The sampler of the tracer provider drops %s, and LLM calls that other instrumentations report are missing"
        " from the costs. Wrap it: AlwaysRecordSampler(...) of opentelemetry.sdk.trace.sampling records all spans and"
        " exports the same ones as before. Calls instrumented by InfraPrism are counted in any case.",
        dropped,
    )
