"""Neatlogs' own wrappers, with keys named like OpenInference's. The counts are the provider's own.

Spans of OpenInference that have these keys as well are read by OpenInference's dialect.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, As, Dialect, NotInTotal
from infraprism.dialects.values import milliseconds

_LLM: Final = "neatlogs.llm"
_COUNT: Final = f"{_LLM}.token_count"

NEATLOGS: Final = Dialect(
    name="Neatlogs",
    required_any=frozenset({"neatlogs.span.kind"}),
    operations={"llm": "chat", "embedding": "embeddings"},
    operation_by_model=True,
    needs=("request_model",),
    keys={
        "operation": ("neatlogs.span.kind",),
        # The response's model, where Neatlogs read it.
        "request_model": (f"{_LLM}.model_name", "neatlogs.embedding.model_name"),
        "provider": (f"{_LLM}.provider", f"{_LLM}.system"),
        "streamed": (f"{_LLM}.is_streaming",),
        "time_to_first_token_ms": (As(f"{_LLM}.metrics.ttft_ms", milliseconds),),
        "response_id": (f"{_LLM}.response_id",),
        "input_tokens": (f"{_COUNT}.prompt",),
        "output_tokens": (f"{_COUNT}.completion",),
        "total_tokens": (f"{_COUNT}.total",),
        "cache_read_tokens": (NotInTotal(f"{_COUNT}.cache_read", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal(f"{_COUNT}.cache_write", CACHE_NOT_IN_INPUT),),
        "reasoning_tokens": (f"{_COUNT}.reasoning",),
        "audio_input_tokens": (f"{_COUNT}.prompt_audio",),
        "audio_output_tokens": (f"{_COUNT}.completion_audio",),
        **{name: semconv.KEYS[name] for name in ("entity_type", "entity_id", "session_id")},
    },
    total_is_computed=True,
)
