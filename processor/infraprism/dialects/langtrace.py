"""Langtrace.

It follows the conventions with names of its own for operations. Its input and output are the providers' own, without
their parts: for Anthropic the input leaves the cache out, and nothing tells by how much. Streams without usage are
estimated, and nothing tells it either. Its total is a sum of its own.
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
    total_is_its_own=True,
    zero_is_unreported=True,
    rank=1,
)
