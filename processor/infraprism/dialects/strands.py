"""Strands Agents.

It follows the conventions, but names itself as the provider and gives the time to the first token in milliseconds.
Since it writes the conventions' names of cached tokens the input includes them; before, counts were the provider's
own, so that for Anthropic and Bedrock the input left them out. Its total is a sum of its own. Agents and event loop
cycles repeat their calls' sums.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_BESIDE_INPUT, As, Dialect, Layer, NotInTotal
from infraprism.dialects.values import milliseconds

STRANDS: Final = Dialect(
    name="Strands Agents",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("strands.telemetry.tracer", "strands-agents"),
    operations=semconv.OPERATIONS,
    keys={
        **semconv.keys_with(
            time_to_first_token_ms=(As("gen_ai.server.time_to_first_token", milliseconds),),
        ),
        "provider": (),
        "cache_read_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_BESIDE_INPUT),
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            NotInTotal("gen_ai.usage.cache_write_input_tokens", CACHE_BESIDE_INPUT),
            NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_BESIDE_INPUT),
        ),
    },
    total_is_its_own=True,
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
STRANDS_NODE: Final = replace(
    STRANDS,
    name="Strands Agents in TypeScript",
    scopes=(),
    exclusive_keys=frozenset({"gen_ai.event.end_time"}),
    keys={
        **STRANDS.keys,
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read.input_tokens", CACHE_BESIDE_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation.input_tokens", CACHE_BESIDE_INPUT),),
    },
)
"""The same, where the scope is the application's own name, and counts are the provider's own to this day."""
