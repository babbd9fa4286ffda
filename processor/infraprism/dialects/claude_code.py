"""Claude Code's own spans, written with its enhanced telemetry enabled.

Each request is one span, including its retries. Enclosing spans and tools have other types. The counts are Anthropic's
own: the input excludes the cache, which is most of the cost. The price of fast mode is not known.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import As, Dialect, NotInTotal
from infraprism.dialects.values import UNKNOWN_TIER, error_if_false, map_words, milliseconds

CLAUDE_CODE: Final = Dialect(
    name="Claude Code",
    required_any=frozenset({"gen_ai.request.model", "llm_request.context"}),
    scopes=("com.anthropic.claude_code.tracing", "com.anthropic.claude_code.traces"),
    operations={"llm_request": "chat"},
    keys={
        "operation": ("span.type",),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "error": (As("success", error_if_false),),
        "http_status": ("status_code",),
        "response_id": ("gen_ai.response.id",),
        "time_to_first_token_ms": (As("ttft_ms", milliseconds),),
        "service_tier": (As("speed", map_words(fast=UNKNOWN_TIER)),),
        "input_tokens": ("input_tokens",),
        "output_tokens": ("output_tokens",),
        "cache_read_tokens": (NotInTotal("cache_read_tokens"),),
        "cache_write_tokens": (NotInTotal("cache_creation_tokens"),),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("session.id", "user.id"),
    },
)
