"""Claude Code, which makes spans of its own where its enhanced telemetry is on.

Each request is one span, retries included; what is around it, and its tools, are other types. The input is Anthropic's
own, so that the cache stands beside it, and is most of the bill. Fast mode costs more, and how much is not known here.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import As, Dialect, NotInTotal
from infraprism.dialects.values import UNKNOWN_TIER, failure, milliseconds, words

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
        "error": (As("success", failure),),
        "http_status": ("status_code",),
        "response_id": ("gen_ai.response.id",),
        "time_to_first_token_ms": (As("ttft_ms", milliseconds),),
        "service_tier": (As("speed", words(fast=UNKNOWN_TIER)),),
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
