"""Strands Agents, in Python and TypeScript.

Strands follows the conventions, but writes itself as the provider and the time to the first token in milliseconds. The
input includes cached tokens since Strands writes the conventions' keys for them. Before, the counts were the provider's
own, and the input of Anthropic and Bedrock excluded the cache. Strands computes the total. Agents and event loop cycles
repeat the sums of their calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, As, Dialect, Layer, NotInTotal
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
            NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_NOT_IN_INPUT),
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            NotInTotal("gen_ai.usage.cache_write_input_tokens", CACHE_NOT_IN_INPUT),
            NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_NOT_IN_INPUT),
        ),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
    total_is_computed=True,
)
STRANDS_NODE: Final = replace(
    STRANDS,
    name="Strands Agents in TypeScript",
    scopes=(),
    exclusive_keys=frozenset({"gen_ai.event.end_time"}),
    keys={
        **STRANDS.keys,
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read.input_tokens", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation.input_tokens", CACHE_NOT_IN_INPUT),),
    },
)
"""The scope is the application's name, and the counts are the provider's own in all versions."""
