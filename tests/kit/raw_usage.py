"""Spans of instrumentations that record a provider's usage object."""

from __future__ import annotations

import json
from typing import Any

TURN = {"type": "message", "input_tokens": 1000, "output_tokens": 100}
CASES: list[tuple[dict[str, Any], str | None, str | None, bool]] = [
    ({}, None, None, False),
    ({"inference_geo": "us"}, "us", None, False),
    ({"inference_geo": "global", "speed": "standard"}, None, None, False),
    ({"inference_geo": "mars"}, "unknown", None, False),
    ({"speed": "fast"}, None, "fast", False),
    ({"server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2}}, None, None, False),
    ({"server_tool_use": {"code_execution_requests": 1}}, None, None, True),
    ({"iterations": [TURN]}, None, None, False),
    ({"iterations": [{**TURN, "type": "compaction"}, TURN]}, None, None, True),
    ({"cache_creation": {"ephemeral_5m_input_tokens": 3}}, None, None, False),
    ({"cache_creation": {"ephemeral_9d_input_tokens": 3}}, None, None, True),
    ({"some_new_tokens": 0, "some_new_text": "7"}, None, None, False),
    ({"some_new_tokens": 7}, None, None, True),
    ({"server_tool_use": 3}, None, None, True),
    ({"some_new": {"tokens": 0.5}}, None, None, True),
]
"""Fields of Anthropic's usage, and the region, the speed and whether there is usage without a price."""


def recorded(dialect: str, usage: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The scope and the attributes of a span of Logfire or Langfuse with these fields in its usage object."""
    text = json.dumps({"input_tokens": 1000, "output_tokens": 100, **usage})
    if dialect == "logfire":
        return "logfire.anthropic", {
            "gen_ai.operation.name": "chat",
            "logfire.msg_template": "Message with {request_data[model]!r}",
            "request_data": "{}",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-opus-4-6",
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 100,
            "gen_ai.usage.raw": text,
        }
    return "langfuse-sdk", {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "claude-opus-4-6",
        "langfuse.observation.usage_details": text,
    }
