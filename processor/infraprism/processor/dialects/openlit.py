"""OpenLIT.

It follows the conventions. For Anthropic and Bedrock the input leaves the cache out; everywhere else it includes it.
Where a stream has no usage it estimates both counts, and nothing on the span tells them from reported ones: its
numbers are trusted least. What it calls `gen_ai.client.token.usage` is its own sum of the two, and proves nothing; its
cost is computed by itself, and not read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.processor.dialects import semconv
from infraprism.processor.dialects.table import Dialect

OPENLIT: Final = Dialect(
    name="OpenLIT",
    markers=frozenset({"gen_ai.operation.name"}),
    scopes=("openlit", "openlit."),
    operations={**semconv.OPERATIONS, "image": "image", "audio": "audio", "rerank": "rerank"},
    keys=semconv.keys_with(time_to_first_token_ms=("gen_ai.server.time_to_first_token",)),
    zero_is_unreported=True,
    rank=2,
)
OPENLIT_EXCLUSIVE: Final = replace(
    OPENLIT,
    name="OpenLIT for Anthropic",
    scopes=("openlit.instrumentation.anthropic", "openlit.instrumentation.bedrock"),
    input_excludes_cache=True,
)
"""The same, where the input is what these providers call so."""
