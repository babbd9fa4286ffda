"""Langtrace.

Langtrace follows the conventions with its own operation names. Input and output are the provider's own, without parts:
for Anthropic the input excludes the cache, and no key has the missing tokens. Streams without usage are estimated, and
no key marks the estimate. The total is the sum of the two.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect

LANGTRACE: Final = Dialect(
    name="Langtrace",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("langtrace_python_sdk.",),
    operations={
        **semconv.OPERATIONS,
        "openai.responses.create": "chat",
        "generate": "completion",
        "embed": "embeddings",
        "images_generate": "image",
        "images_edit": "image",
        "rerank": "rerank",
    },
    keys=semconv.keys_with(response_id=("gen_ai.response_id",)),
    zero_is_unreported=True,
    rank=1,
    total_is_computed=True,
)
