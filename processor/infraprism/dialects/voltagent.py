"""VoltAgent.

VoltAgent writes keys of its own under `llm.` on one span for each call of the AI SDK. Agents repeat the counts under
other keys. For a loop with tools only the last step is counted.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import Dialect, Layer

_USAGE: Final = "llm.usage"

VOLTAGENT: Final = Dialect(
    name="VoltAgent",
    required_any=frozenset({"llm.operation"}),
    operations=dict.fromkeys(("generateText", "streamText", "generateObject", "streamObject"), "chat"),
    keys={
        "operation": ("llm.operation",),
        "request_model": ("llm.model", "llm.model_id"),
        "provider": ("llm.provider",),
        "error": ("error.type",),
        "streamed": ("llm.stream",),
        "input_tokens": (f"{_USAGE}.prompt_tokens",),
        "output_tokens": (f"{_USAGE}.completion_tokens",),
        "total_tokens": (f"{_USAGE}.total_tokens",),
        "cache_read_tokens": (f"{_USAGE}.cached_tokens",),
        "reasoning_tokens": (f"{_USAGE}.reasoning_tokens",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("conversation.id", "user.id"),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
    rank=1,
)
