"""Respan (formerly Keywords AI), its own packages.

It writes OpenLLMetry's names. The counts are the provider's own, so that for Anthropic and Bedrock the input leaves the
cache out; of OpenAI's parts it tells nothing. Its spans of OpenAI are put together when the call is over, in no scope.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects.openllmetry import OPENLLMETRY
from infraprism.dialects.table import CACHE_BESIDE_INPUT, NotInTotal

RESPAN: Final = replace(
    OPENLLMETRY,
    name="Respan",
    scopes=("respan_instrumentation_",),
    exclusive_keys=frozenset({"respan.entity.log_type"}),
    keys={
        **OPENLLMETRY.keys,
        "http_status": (*OPENLLMETRY.keys["http_status"], "status_code"),
        "cache_read_tokens": (NotInTotal("gen_ai.usage.cache_read_input_tokens", CACHE_BESIDE_INPUT),),
        "cache_write_tokens": (NotInTotal("gen_ai.usage.cache_creation_input_tokens", CACHE_BESIDE_INPUT),),
    },
)
