"""OpenAI's Codex, with `trace_exporter` set in its `[otel]` section.

The span of a request has its usage but not its model. The span of a turn has both, for all requests of the turn.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import Dialect, Layer

_COUNT: Final = "codex.turn.token_usage"
_TOTAL: Final = f"{_COUNT}.total_tokens"

CODEX: Final = Dialect(
    name="Codex",
    required_any=frozenset({_TOTAL}),
    operations={"chat": "chat"},
    unnamed_operation="chat",
    needs=("request_model",),
    keys={
        "operation": ("gen_ai.operation.name",),  # Codex does not write it yet.
        "request_model": ("model",),
        "input_tokens": (f"{_COUNT}.input_tokens",),
        "output_tokens": (f"{_COUNT}.output_tokens",),
        "total_tokens": (_TOTAL,),
        "cache_read_tokens": (f"{_COUNT}.cached_input_tokens",),
        "cache_write_tokens": (f"{_COUNT}.cache_write_input_tokens",),
        "reasoning_tokens": (f"{_COUNT}.reasoning_output_tokens",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
    rank=1,
)
