"""Mastra's exporter to OpenTelemetry.

It follows the conventions, with names of its own for some parts. Its call is a whole generation: the steps of a loop
with tools are one span, with their sum, and the steps below it have no usage.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import As, Dialect, Layer
from infraprism.dialects.values import ended_in_error

MASTRA: Final = Dialect(
    name="Mastra",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("@mastra/otel-",),
    exclusive_keys=frozenset({"mastra.span.type"}),
    operations=semconv.OPERATIONS,
    keys=semconv.keys_with(
        # Its spans end well whatever became of the call. Others say `error` of streams that the application left.
        error=(As("gen_ai.response.finish_reasons", ended_in_error),),
        cache_write_1h_tokens=("gen_ai.usage.cache_creation.1h_input_tokens",),
        audio_input_tokens=("gen_ai.usage.audio_input_tokens",),
        audio_output_tokens=("gen_ai.usage.audio_output_tokens",),
    ),
    layer=Layer.FRAMEWORK,
    rank=1,
)
