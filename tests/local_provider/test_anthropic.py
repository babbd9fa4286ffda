from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel
from tests.kit.provider import ANTHROPIC_KEY, CANARY
from tests.kit.vendor_models import differences

from infraprism.local_provider import LocalProvider
from infraprism.local_provider.billing_record import BilledTokens

MODEL = "claude-haiku-4-5"
MESSAGES: Any = [{"role": "user", "content": f"Where is my order 1234? {CANARY}"}]
TOOLS: Any = [{"name": "order_status", "input_schema": {"type": "object", "properties": {"order": {"type": "string"}}}}]
SEARCH: Any = [{"type": "web_search_20250305", "name": "web_search"}]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
VARIANTS: Any = [{}, {"tools": TOOLS}, {"thinking": THINKING}, {"tools": SEARCH}]


class Plan(BaseModel):
    name: str
    steps: list[str]


def billed(usage: Any) -> BilledTokens:
    """The tokens of a usage object. Cache reads and writes are input tokens too."""
    written, read = usage.cache_creation_input_tokens, usage.cache_read_input_tokens
    creation = getattr(usage, "cache_creation", None)
    hour = creation.ephemeral_1h_input_tokens if creation else None
    if creation:
        assert written == creation.ephemeral_5m_input_tokens + hour
    return BilledTokens(
        input_tokens=usage.input_tokens + written + read,
        output_tokens=usage.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else None,
        web_searches=usage.server_tool_use.web_search_requests if usage.server_tool_use else None,
    )


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-4-5-cached"])
@pytest.mark.parametrize("more", VARIANTS, ids=lambda more: str(*more))
def test_a_message_matches_the_vendors_model_and_the_billing_record(
    provider: LocalProvider, claude: anthropic.Anthropic, model: str, more: dict[str, Any]
) -> None:
    message = claude.messages.create(model=model, max_tokens=2000, messages=MESSAGES, **more)
    (record,) = provider.calls
    assert list(differences(message)) == []
    assert billed(message.usage) == record.reported == record.usage
    assert (message.model, message.id) == (record.response_model, record.response_id)


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("more", VARIANTS, ids=lambda more: str(*more))
def test_a_message_stream_has_the_events_of_the_api_and_the_same_usage(
    provider: LocalProvider, claude: anthropic.Anthropic, more: dict[str, Any], beta: bool
) -> None:
    messages: Any = claude.beta.messages if beta else claude.messages
    parameters = {"model": "claude-sonnet-4-5-cached", "max_tokens": 2000, "messages": MESSAGES}
    events = list(messages.create(**parameters, stream=True, **more))
    (record,) = provider.calls
    assert [difference for event in events for difference in differences(event)] == []
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")
    final = billed(events[-2].usage)
    assert record.reported is not None
    assert final == record.reported._replace(cache_write_1h_tokens=None)
    assert billed(events[0].message.usage).cache_write_1h_tokens == record.reported.cache_write_1h_tokens
    assert b"event: ping\n" in provider.exchanges[0].response


@pytest.mark.parametrize("more", VARIANTS, ids=lambda more: str(*more))
def test_the_vendors_stream_helper_builds_the_same_message(claude: anthropic.Anthropic, more: dict[str, Any]) -> None:
    parameters: Any = {"model": MODEL, "max_tokens": 2000, "messages": MESSAGES, **more}
    with claude.messages.stream(**parameters) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_message()
    response = claude.messages.create(**parameters)
    # The final usage of a stream counts. Both responses are equal except for their ids.
    assert streamed.usage.output_tokens == response.usage.output_tokens
    assert [getattr(block, "text", getattr(block, "input", None)) for block in streamed.content] == [
        getattr(block, "text", getattr(block, "input", None)) for block in response.content
    ]
    assert streamed.stop_reason == response.stop_reason


def test_structured_output_parses(claude: anthropic.Anthropic) -> None:
    message = claude.messages.parse(model=MODEL, max_tokens=2000, messages=MESSAGES, output_format=Plan)
    assert message.parsed_output is not None
    assert message.parsed_output.steps


@pytest.mark.parametrize(("ttl", "hour"), [("5m", False), ("1h", True)])
def test_a_prefix_with_cache_control_is_written_to_the_cache_and_then_read(
    claude: anthropic.Anthropic, ttl: str, hour: bool
) -> None:
    def ask(question: str) -> BilledTokens:
        system: Any = [{"type": "text", "text": "rules " * 99, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        parameters: Any = [{"role": "user", "content": question}]
        return billed(claude.messages.create(model=MODEL, max_tokens=9, system=system, messages=parameters).usage)

    first, second = ask("one?"), ask("another?")
    assert (first.cache_read_tokens, second.cache_write_tokens) == (0, 0)
    assert first.cache_write_tokens == second.cache_read_tokens
    assert first.cache_write_tokens
    assert first.cache_write_1h_tokens == (first.cache_write_tokens if hour else 0)


def test_with_the_marker_old_delta_a_stream_ends_with_output_tokens_only(claude: anthropic.Anthropic) -> None:
    events: Any = list(claude.messages.create(model=f"{MODEL}-old-delta", max_tokens=9, messages=MESSAGES, stream=True))
    assert events[-2].usage.model_fields_set == {"output_tokens"}
    assert events[0].message.usage.input_tokens


def test_counting_tokens_is_exact_and_not_billed(provider: LocalProvider, claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model=MODEL, messages=MESSAGES, tools=TOOLS)
    message = claude.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES, tools=TOOLS)
    assert list(differences(counted)) == []
    assert counted.input_tokens == message.usage.input_tokens
    assert provider.calls[0].usage is None


def test_the_asynchronous_client_receives_the_same(provider: LocalProvider) -> None:
    async def use() -> list[int]:
        async with anthropic.AsyncAnthropic(base_url=provider.anthropic_base_url, api_key=ANTHROPIC_KEY) as client:
            response = await client.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES)
            async with client.messages.stream(model=MODEL, max_tokens=9, messages=MESSAGES) as stream:
                final = await stream.get_final_message()
            return [response.usage.output_tokens, final.usage.output_tokens]

    assert asyncio.run(use()) == [call.reported and call.reported.output_tokens for call in provider.calls]


def test_models_are_listed(claude: anthropic.Anthropic) -> None:
    listed = list(claude.models.list())
    assert [difference for model in listed for difference in differences(model)] == []
    assert listed
