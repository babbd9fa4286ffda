"""Spring AI, through Micrometer.

Spring AI follows the conventions, with each value as text, and `none` for an unknown model. The input of Anthropic and
Bedrock excludes the cache. Enclosing spans, of the client and its advisors, have other operations.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, Dialect, Layer, NotInTotal

SPRING_AI: Final = Dialect(
    name="Spring AI",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("org.springframework.boot",),
    exclusive_keys=frozenset({"spring.ai.model.request.tool.names"}),
    operations={**semconv.OPERATIONS, "embedding": "embeddings", "image": "image"},
    keys={
        **semconv.KEYS,
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read.input_tokens", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation.input_tokens", CACHE_NOT_IN_INPUT),),
    },
    layer=Layer.FRAMEWORK,
    zero_is_unreported=True,
    total_is_computed=True,
)
