"""Warns if the application's sampler drops spans of LLM calls before the processor receives them.

The processor receives recorded spans only, so calls that other instrumentations report are missing from the costs, and
their number is unknown. Calls that InfraPrism instruments itself are counted whatever the sampler decides.
"""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry.sdk.trace import Span

_RECORDS_ALL: Final = (
    "AlwaysOnSampler",
    "AlwaysRecordSampler{",
    "ParentBased{root:AlwaysOnSampler,",
    "ParentBased{root:AlwaysRecordSampler{",
)
"""How the descriptions of samplers begin that drop no span of a trace that starts in the process."""
_log: Final = logging.getLogger("infraprism.processor")


def warn_if_dropping(span: Span) -> None:
    """Log a warning if the sampler that recorded this span drops others."""
    # Not public; the same in every supported version of the SDK.
    sampler = getattr(span, "_sampler", None)
    if sampler is None or str(sampler.get_description()).startswith(_RECORDS_ALL):
        return
    _log.warning(
        "The sampler of the tracer provider drops spans, and LLM calls that other instrumentations report are missing"
        " from the costs. Wrap it: AlwaysRecordSampler(...) of opentelemetry.sdk.trace.sampling records all spans and"
        " exports the same ones as before. Calls instrumented by InfraPrism are counted in any case."
    )
