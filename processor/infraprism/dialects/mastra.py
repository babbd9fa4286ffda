"""Mastra's OpenTelemetry exporter.

Mastra follows the conventions, with its own keys for some parts. Its call is one generation: the steps of a loop with
tools are one span with the sum of their usage, and the nested spans of the steps have no usage.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import As, Dialect, Layer
from infraprism.dialects.values import error_from_finish_reasons

MASTRA: Final = Dialect(
    name="Mastra",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("@mastra/otel-",),
    exclusive_keys=frozenset({"mastra.span.type"}),
    operations=semconv.OPERATIONS,
    keys=semconv.keys_with(
        # Mastra sets no error status. Other dialects have `error` for streams that the application abandoned.
        error=(As("gen_ai.response.finish_reasons", error_from_finish_reasons),),
        cache_write_1h_tokens=("gen_ai.usage.cache_creation.1h_input_tokens",),
        audio_input_tokens=("gen_ai.usage.audio_input_tokens",),
        audio_output_tokens=("gen_ai.usage.audio_output_tokens",),
    ),
    layer=Layer.FRAMEWORK,
    rank=1,
)
