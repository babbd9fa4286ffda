"""AG2's own tracing, from before and after it was renamed from AutoGen.

AG2 follows the conventions with the counts of each provider as reported: for Anthropic and Bedrock the input excludes
the cache, for Google the output excludes thoughts. It writes each call twice: as a span, and as a usage record, which
is a span without an operation. A record of the kind `model_call` repeats a span. A record of the kind `compaction` or
`aggregation` is the only span of a call that shortened the conversation or the memory. A record of the kind `subtask`
is the sum of another agent's calls. Before version 1 there are no records, and the counts have no parts.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, Dialect, Layer, NotInTotal

_GOOGLE: Final = frozenset({"google_gemini", "google_vertex"})

AG2: Final = Dialect(
    name="AG2",
    required_any=frozenset({"gen_ai.operation.name", "ag2.usage.kind"}),
    scopes=("opentelemetry.instrumentation.ag2",),
    exclusive_keys=frozenset({"ag2.span.type"}),
    operations={**semconv.OPERATIONS, "compaction": "chat", "aggregation": "chat"},
    keys={
        **semconv.KEYS,
        "operation": ("ag2.usage.kind", "gen_ai.operation.name"),
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_NOT_IN_INPUT),),
        "reasoning_tokens": (NotInTotal("gen_ai.usage.thinking_tokens", _GOOGLE),),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
