"""Sentry's instrumentations of AI clients, in Python and in Node.

They follow the conventions, with names of their own for the parts, all of which are within their wholes.
"""

from __future__ import annotations

from typing import Final

from infraprism.processor.dialects import semconv
from infraprism.processor.dialects.table import Dialect

SENTRY: Final = Dialect(
    name="Sentry",
    markers=frozenset({"gen_ai.operation.name"}),
    signs=frozenset({"sentry.op"}),
    operations={**semconv.OPERATIONS, "messages": "chat", "responses": "chat"},
    keys=semconv.keys_with(
        streamed=("gen_ai.response.streaming",),
        cache_read_tokens=("gen_ai.usage.input_tokens.cached",),
        cache_write_tokens=("gen_ai.usage.input_tokens.cache_write",),
        reasoning_tokens=("gen_ai.usage.output_tokens.reasoning",),
    ),
)
