from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel
from tests.kit.provider import ANTHROPIC_KEY, CANARY
from tests.local_provider.strict import misfits

from infraprism.local_provider import LocalProvider
from infraprism.local_provider.billing_record import BilledTokens

MODEL = "claude-haiku-4-5"
MESSAGES: Any = [{"role": "user", "content": f"Where is my order 1234? {CANARY}"}]
TOOLS: Any = [{"name": "order_status", "input_schema": {"type": "object", "properties": {"order": {"type": "string"}}}}]
SEARCH: Any = [{"type": "web_search_20250305", "name": "web_search"}]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
SHAPES: Any = [{}, {"tools": TOOLS}, {"thinking": THINKING}, {"tools": SEARCH}]


class Plan(BaseModel):
    name: str
    steps: list[str]


def billed(usage: Any) -> BilledTokens:
    """A usage object by what its fields mean: what is read from and written to the cache is input too."""
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
@pytest.mark.parametrize("more", SHAPES, ids=lambda more: str(*more))
def test_a_message_fits_the_vendors_model_and_the_truth(
    provider: LocalProvider, claude: anthropic.Anthropic, model: str, more: dict[str, Any]
) -> None:
    message = claude.messages.create(model=model, max_tokens=2000, messages=MESSAGES, **more)
    (truth,) = provider.calls
    assert list(misfits(message)) == []
    assert billed(message.usage) == truth.reported == truth.usage
    assert (message.model, message.id) == (truth.response_model, truth.response_id)


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("more", SHAPES, ids=lambda more: str(*more))
def test_a_message_stream_has_the_true_events_and_the_same_usage(
    provider: LocalProvider, claude: anthropic.Anthropic, more: dict[str, Any], beta: bool
) -> None:
    messages: Any = claude.beta.messages if beta else claude.messages
    asked = {"model": "claude-sonnet-4-5-cached", "max_tokens": 2000, "messages": MESSAGES}
    events = list(messages.create(**asked, stream=True, **more))
    (truth,) = provider.calls
    assert [misfit for event in events for misfit in misfits(event)] == []
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")
    final = billed(events[-2].usage)
    assert truth.reported is not None
    assert final == truth.reported._replace(cache_write_1h_tokens=None)
    assert billed(events[0].message.usage).cache_write_1h_tokens == truth.reported.cache_write_1h_tokens
    assert b"event: ping\n" in provider.exchanges[0].response


@pytest.mark.parametrize("more", SHAPES, ids=lambda more: str(*more))
def test_the_stream_helper_of_the_vendor_puts_the_same_message_together(
    claude: anthropic.Anthropic, more: dict[str, Any]
) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 2000, "messages": MESSAGES, **more}
    with claude.messages.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_message()
    whole = claude.messages.create(**asked)
    # What stands at the end of a stream is what counts, and both answers are the same but for their ids.
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert [getattr(block, "text", getattr(block, "input", None)) for block in streamed.content] == [
        getattr(block, "text", getattr(block, "input", None)) for block in whole.content
    ]
    assert streamed.stop_reason == whole.stop_reason


def test_structured_output_parses(claude: anthropic.Anthropic) -> None:
    message = claude.messages.parse(model=MODEL, max_tokens=2000, messages=MESSAGES, output_format=Plan)
    assert message.parsed_output is not None
    assert message.parsed_output.steps


@pytest.mark.parametrize(("ttl", "hour"), [("5m", False), ("1h", True)])
def test_a_marked_prefix_is_written_to_the_cache_and_then_read(
    claude: anthropic.Anthropic, ttl: str, hour: bool
) -> None:
    def ask(question: str) -> BilledTokens:
        system: Any = [{"type": "text", "text": "rules " * 99, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        asked: Any = [{"role": "user", "content": question}]
        return billed(claude.messages.create(model=MODEL, max_tokens=9, system=system, messages=asked).usage)

    first, second = ask("one?"), ask("another?")
    assert (first.cache_read_tokens, second.cache_write_tokens) == (0, 0)
    assert first.cache_write_tokens == second.cache_read_tokens
    assert first.cache_write_tokens
    assert first.cache_write_1h_tokens == (first.cache_write_tokens if hour else 0)


def test_an_old_stream_ends_with_output_tokens_alone(claude: anthropic.Anthropic) -> None:
    events: Any = list(claude.messages.create(model=f"{MODEL}-old-delta", max_tokens=9, messages=MESSAGES, stream=True))
    assert events[-2].usage.model_fields_set == {"output_tokens"}
    assert events[0].message.usage.input_tokens


def test_counting_tokens_is_exact_and_free(provider: LocalProvider, claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model=MODEL, messages=MESSAGES, tools=TOOLS)
    message = claude.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES, tools=TOOLS)
    assert list(misfits(counted)) == []
    assert counted.input_tokens == message.usage.input_tokens
    assert provider.calls[0].usage is None


def test_the_asynchronous_client_gets_the_same(provider: LocalProvider) -> None:
    async def use() -> list[int]:
        async with anthropic.AsyncAnthropic(base_url=provider.anthropic_base_url, api_key=ANTHROPIC_KEY) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=9, messages=MESSAGES)
            async with client.messages.stream(model=MODEL, max_tokens=9, messages=MESSAGES) as stream:
                final = await stream.get_final_message()
            return [whole.usage.output_tokens, final.usage.output_tokens]

    assert asyncio.run(use()) == [call.reported and call.reported.output_tokens for call in provider.calls]


def test_models_are_listed(claude: anthropic.Anthropic) -> None:
    listed = list(claude.models.list())
    assert [misfit for model in listed for misfit in misfits(model)] == []
    assert listed
