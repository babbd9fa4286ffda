"""A provider's usage object that an instrumentation records: what changes the bill is priced, or leaves no price."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infraprism.dialects import engine

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
    ({"some_new": {"tokens": 0.5}}, None, None, True),
]


@pytest.mark.parametrize(("usage", "region", "speed", "unpriced"), CASES)
@pytest.mark.parametrize("dialect", ["logfire", "langfuse"])
def test_modifiers_in_a_recorded_usage_object_are_read(
    dialect: str, usage: dict[str, Any], region: str | None, speed: str | None, unpriced: bool
) -> None:
    text = json.dumps({"input_tokens": 1000, "output_tokens": 100, **usage})
    if dialect == "logfire":
        scope, attributes = (
            "logfire.anthropic",
            {
                "gen_ai.operation.name": "chat",
                "logfire.msg_template": "Message with {request_data[model]!r}",
                "request_data": "{}",
                "gen_ai.request.model": "claude-opus-4-6",
                "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.output_tokens": 100,
                "gen_ai.usage.raw": text,
            },
        )
    else:
        scope, attributes = (
            "langfuse-sdk",
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "claude-opus-4-6",
                "langfuse.observation.usage_details": text,
            },
        )
    parsed = engine.read(attributes, scope)
    assert parsed is not None
    fields = parsed.span_fields
    assert (fields.region, fields.speed, bool(fields.has_unpriced_usage)) == (region, speed, unpriced)
    assert parsed.usage[:2] == (1000, 100)
