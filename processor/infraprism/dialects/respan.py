"""Respan (formerly Keywords AI), its own packages.

Respan writes OpenLLMetry's keys. The counts are the provider's own, so that the input of Anthropic and Bedrock excludes
the cache. OpenAI's parts are missing. Its spans of OpenAI are created after the call, in an empty scope.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects.openllmetry import OPENLLMETRY
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, NotInTotal

RESPAN: Final = replace(
    OPENLLMETRY,
    name="Respan",
    scopes=("respan_instrumentation_",),
    exclusive_keys=frozenset({"respan.entity.log_type"}),
    keys={
        **OPENLLMETRY.keys,
        "http_status": (*OPENLLMETRY.keys["http_status"], "status_code"),
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_NOT_IN_INPUT),),
    },
)
