"""AG2's own tracing, before and since it left AutoGen's name.

It follows the conventions, with the counts of each provider as it gives them: for Anthropic and Bedrock the input
leaves the cache out, and for Google the output leaves thoughts out. Each call is recorded twice: by its span, and by a
span without an operation that keeps the books, of the kind `model_call`. Such a record is all that there is of a call
that made the conversation or the memory shorter; of the kind `subtask` it is the sum of another agent's calls. Before
version 1 there are no records, and no parts of the counts.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_BESIDE_INPUT, Dialect, Layer, NotInTotal

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
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_BESIDE_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_BESIDE_INPUT),),
        "reasoning_tokens": (NotInTotal("gen_ai.usage.thinking_tokens", _GOOGLE),),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
