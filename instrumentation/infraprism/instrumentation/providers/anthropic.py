"""The anthropic package: Anthropic itself, and Claude on other clouds.

Field names are from the published API reference: `usage` of messages and of the events of a message stream.
"""

from __future__ import annotations

from typing import Final

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.providers import anthropic_iterations as iterations
from infraprism.instrumentation.usage_reader import CLOSED, IGNORED, Operation, StreamEvent, Table

# Neither is billed beside tokens: https://platform.claude.com/docs/en/about-claude/pricing, read on 2026-11-30. Code
# execution is billed by time, which is not reported.
_SERVER_TOOLS: Final[Table] = dict.fromkeys(
    ("web_search_requests", "web_fetch_requests", "tool_search_requests"), IGNORED
)
_USAGE_AT_START: Final[Table] = {
    **CLOSED,
    "input_tokens": key.INPUT_TOKENS,
    "cache_read_input_tokens": key.CACHE_READ_TOKENS,
    "cache_creation_input_tokens": key.CACHE_WRITE_TOKENS,
    "cache_creation": {
        "ephemeral_1h_input_tokens": key.ANTHROPIC_CACHE_WRITE_1H_TOKENS,
        "ephemeral_5m_input_tokens": IGNORED,
    },
    "service_tier": key.ANTHROPIC_SERVICE_TIER,
    "inference_geo": key.INFERENCE_GEO,
    "speed": key.SPEED,
    "iterations": iterations.read,
    "fallback_credit": iterations.read_fallback_credit,
    "output_tokens": IGNORED,
    "output_tokens_details": {"thinking_tokens": IGNORED},
    "server_tool_use": _SERVER_TOOLS,
}
_USAGE: Final[Table] = {
    **_USAGE_AT_START,
    "output_tokens": key.OUTPUT_TOKENS,
    "output_tokens_details": {**CLOSED, "thinking_tokens": key.REASONING_TOKENS},
    "server_tool_use": {**_SERVER_TOOLS, "web_search_requests": key.WEB_SEARCHES},
}
_IDENTITY: Final[Table] = {"id": key.RESPONSE_ID, "model": key.RESPONSE_MODEL}

_MESSAGES: Final = Operation(
    "chat",
    {**_IDENTITY, "usage": _USAGE},
    events={
        # The output tokens of the first event are not a result: they count what the model had when the stream began. A
        # stream that ends before the last event reports no output tokens.
        "message_start": StreamEvent(("message",), {**_IDENTITY, "usage": _USAGE_AT_START}),
        "message_delta": StreamEvent((), {"usage": _USAGE}),
    },
    input_excludes_cache=True,
    complete=iterations.complete,
)

ANTHROPIC: Final = ClientPackage(
    name="anthropic",
    oldest=(0, 41, 0),
    provider="anthropic",
    operations={
        "/v1/messages": _MESSAGES,
        "/v1/complete": Operation("text_completion", _IDENTITY),
    },
    not_observed=("message batches",),
    other_providers={
        "BaseBedrockClient": "aws.bedrock",
        "BaseMantleClient": "aws.bedrock",
        "BaseVertexClient": "gcp.vertex_ai",
    },
)
