"""Pydantic AI, all versions of its instrumentation.

Pydantic AI follows the conventions, and writes counts that they do not define under `gen_ai.usage.details`. Agent spans
repeat the sums of their calls, by default or optionally with the same keys. Their operation, or its absence, excludes
them. Pydantic AI's computed cost is not read.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Layer

_DETAILS: Final = "gen_ai.usage.details"

PYDANTIC_AI: Final = Dialect(
    name="Pydantic AI",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("pydantic-ai",),
    operations=semconv.OPERATIONS,
    keys=semconv.keys_with(
        cache_read_tokens=(
            f"{_DETAILS}.cache_read_tokens",
            f"{_DETAILS}.cached_tokens",
            f"{_DETAILS}.cache_read_input_tokens",
        ),
        cache_write_tokens=(f"{_DETAILS}.cache_write_tokens", f"{_DETAILS}.cache_creation_input_tokens"),
        reasoning_tokens=(f"{_DETAILS}.reasoning_tokens", f"{_DETAILS}.thoughts_tokens"),
        audio_input_tokens=(f"{_DETAILS}.input_audio_tokens",),
        audio_output_tokens=(f"{_DETAILS}.output_audio_tokens",),
    ),
    layer=Layer.FRAMEWORK,
)
