"""Spring AI, by way of Micrometer.

It follows the conventions, with each value as a text, and `none` for a model that it does not know. Of Anthropic and
Bedrock the input leaves the cache out, as their own counts do. What is around a call, the client and its advisors,
names another operation.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_BESIDE_INPUT, Dialect, Layer, NotInTotal

SPRING_AI: Final = Dialect(
    name="Spring AI",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("org.springframework.boot",),
    exclusive_keys=frozenset({"spring.ai.model.request.tool.names"}),
    operations={**semconv.OPERATIONS, "embedding": "embeddings", "image": "image"},
    keys={
        **semconv.KEYS,
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read.input_tokens", CACHE_BESIDE_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation.input_tokens", CACHE_BESIDE_INPUT),),
    },
    layer=Layer.FRAMEWORK,
    total_is_its_own=True,
    zero_is_unreported=True,
)
