from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.kit.provider import CANARY, OPENAI_KEY
from tests.kit.vendor_models import differences

from infraprism.local_provider import LocalProvider
from infraprism.local_provider.billing_record import BilledTokens

MESSAGES: Any = [{"role": "user", "content": f"Where is my order 1234? {CANARY}"}]
SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}, "express": {"type": "boolean"}}}
TOOLS: Any = [{"type": "function", "function": {"name": "order_status", "parameters": SCHEMA}}]
RESPONSE_TOOLS: Any = [{"type": "function", "name": "order_status", "parameters": SCHEMA, "strict": False}]
USAGE: Any = {"include_usage": True}


class Step(BaseModel):
    title: str
    minutes: int


class Plan(BaseModel):
    name: str
    kind: str | None
    steps: list[Step]


def chat_usage(usage: Any) -> BilledTokens:
    """The tokens of a usage object of chat completions."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return BilledTokens(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=prompt.cached_tokens,
        cache_write_tokens=prompt.cache_write_tokens,
        reasoning_tokens=completion.reasoning_tokens,
        audio_input_tokens=prompt.audio_tokens,
        audio_output_tokens=completion.audio_tokens,
    )


def response_usage(usage: Any) -> BilledTokens:
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return BilledTokens(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.input_tokens_details.cached_tokens,
        cache_write_tokens=usage.input_tokens_details.cache_write_tokens,
        reasoning_tokens=usage.output_tokens_details.reasoning_tokens,
    )


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5-mini", "gpt-4o-cached", "gpt-5.6-sol-cached"])
@pytest.mark.parametrize(
    "more", [{}, {"tools": TOOLS}, {"n": 3}, {"service_tier": "flex"}], ids=lambda more: str(*more)
)
def test_a_chat_completion_matches_the_vendors_model_and_the_billing_record(
    provider: LocalProvider, chat: openai.OpenAI, model: str, more: dict[str, Any]
) -> None:
    completion = chat.chat.completions.create(model=model, messages=MESSAGES, **more)
    (record,) = provider.calls
    assert list(differences(completion)) == []
    assert completion.usage is not None
    assert chat_usage(completion.usage) == record.reported == record.usage
    assert (completion.model, completion.id) == (record.response_model, record.response_id)
    assert (completion.service_tier, record.request_model) == (record.service_tier, model)
    assert len(completion.choices) == more.get("n", 1)


def test_cache_and_reasoning_tokens_are_reported_for_the_models_that_have_them(chat: openai.OpenAI) -> None:
    usage = chat_usage(chat.chat.completions.create(model="gpt-5.6-sol-cached", messages=MESSAGES).usage)
    assert usage.cache_read_tokens
    assert usage.cache_write_tokens
    assert usage.reasoning_tokens
    plain = chat_usage(chat.chat.completions.create(model="gpt-4o", messages=MESSAGES).usage)
    assert (plain.cache_read_tokens, plain.cache_write_tokens, plain.reasoning_tokens) == (0, None, 0)


def test_a_long_prompt_is_read_from_the_cache_the_second_time(chat: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "word " * 2000}]
    first, second = (chat_usage(chat.chat.completions.create(model="gpt-4o", messages=long).usage) for _ in range(2))
    assert first.cache_read_tokens == 0
    assert second.cache_read_tokens
    assert second.cache_read_tokens % 128 == 0
    assert first._replace(cache_read_tokens=None) == second._replace(cache_read_tokens=None)


def test_usage_differs_between_prompts_and_is_the_same_for_the_same_prompt(chat: openai.OpenAI) -> None:
    def tokens(question: str) -> int:
        parameters: Any = [{"role": "user", "content": question}]
        usage = chat.chat.completions.create(model="gpt-4o", messages=parameters).usage
        assert usage is not None
        return usage.total_tokens

    found = [tokens(f"question {number}") for number in range(12)]
    assert len(set(found)) > 8
    assert found == [tokens(f"question {number}") for number in range(12)]


def test_audio_tokens_are_counted_in_input_and_output(chat: openai.OpenAI) -> None:
    audio_input: Any = [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}
    ]
    completion = chat.chat.completions.create(
        model="gpt-4o-audio-preview",
        messages=audio_input,
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
    )
    assert list(differences(completion)) == []
    usage = chat_usage(completion.usage)
    assert usage.audio_input_tokens
    assert usage.audio_output_tokens
    assert completion.choices[0].message.audio is not None


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("more", [{}, {"tools": TOOLS}, {"n": 2}], ids=lambda more: str(*more))
def test_a_chat_stream_matches_the_vendors_model_and_has_usage_only_if_requested(
    provider: LocalProvider, chat: openai.OpenAI, more: dict[str, Any], include_usage: bool
) -> None:
    options = {"stream_options": USAGE} if include_usage else {}
    chunks = list(chat.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, stream=True, **options, **more))
    (record,) = provider.calls
    assert [difference for chunk in chunks for difference in differences(chunk)] == []
    with_usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert [chat_usage(usage) for usage in with_usage] == ([record.usage] if include_usage else [])
    assert record.reported == (record.usage if include_usage else None)
    assert record.streamed
    completion = chat.chat.completions.create(model="gpt-5-mini", messages=MESSAGES, **more)
    for choice in completion.choices:
        parts = [part for chunk in chunks for part in chunk.choices if part.index == choice.index]
        assert "".join(part.delta.content or "" for part in parts) == (choice.message.content or "")
        assert parts[-1].finish_reason == choice.finish_reason


def test_the_vendors_stream_helper_and_parse_work(chat: openai.OpenAI) -> None:
    with chat.chat.completions.stream(model="gpt-4o", messages=MESSAGES, tools=TOOLS, stream_options=USAGE) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.done"} <= kinds
    calls = final.choices[0].message.tool_calls
    assert calls
    assert set(json.loads(calls[0].function.arguments)) == {"order", "express"}
    parsed = chat.chat.completions.parse(model="gpt-4o", messages=MESSAGES, response_format=Plan)
    plan = parsed.choices[0].message.parsed
    assert plan is not None
    assert plan.steps


def test_a_tool_result_gets_a_text_response(chat: openai.OpenAI) -> None:
    call = chat.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS).choices[0].message
    assert call.tool_calls
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "on its way"}
    messages: Any = [*MESSAGES, call, result]
    choice = chat.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0]
    assert choice.finish_reason == "stop"
    assert "on its way" in str(choice.message.content)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "o3-mini", "gpt-5.6-sol-cached"])
@pytest.mark.parametrize("tools", [[], RESPONSE_TOOLS], ids=["text", "tools"])
def test_a_response_matches_the_vendors_model_and_the_billing_record(
    provider: LocalProvider, chat: openai.OpenAI, model: str, tools: Any
) -> None:
    response = chat.responses.create(model=model, input="Where is order 1234?", tools=tools)
    (record,) = provider.calls
    assert list(differences(response)) == []
    assert response.usage is not None
    assert response_usage(response.usage) == record.reported == record.usage
    assert (response.id, response.model) == (record.response_id, record.response_model)
    assert response.output[-1].type == ("function_call" if tools else "message")


@pytest.mark.parametrize("tools", [[], RESPONSE_TOOLS, [{"type": "web_search"}]], ids=["text", "tools", "search"])
def test_a_response_stream_has_the_event_sequence_of_the_api(
    provider: LocalProvider, chat: openai.OpenAI, tools: Any
) -> None:
    events: Any = list(chat.responses.create(model="o3-mini", input="Order 1234?", tools=tools, stream=True))
    (record,) = provider.calls
    assert [difference for event in events for difference in differences(event)] == []
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert response_usage(events[-1].response.usage)._replace(
        web_searches=record.usage and record.usage.web_searches
    ) == (record.reported)
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done")
    assert [event.item.id for event in events if event.type == "response.output_item.done"] == [
        item.id for item in events[-1].response.output
    ]


def test_the_vendors_responses_helpers_work(chat: openai.OpenAI) -> None:
    assert chat.responses.parse(model="gpt-4o", input="x", text_format=Plan).output_parsed is not None
    with chat.responses.stream(model="gpt-4o", input="x") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


def test_a_response_with_a_previous_one_is_billed_for_its_context(chat: openai.OpenAI) -> None:
    first = chat.responses.create(model="gpt-4o", input="x")
    second = chat.responses.create(model="gpt-4o", input="x", previous_response_id=first.id)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens >= first.usage.total_tokens
    with pytest.raises(openai.BadRequestError) as rejected:
        chat.responses.create(model="gpt-4o", input="x", previous_response_id="resp_unknown")
    assert rejected.value.code == "previous_response_not_found"


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings_are_sent_as_numbers_or_base64(
    provider: LocalProvider, chat: openai.OpenAI, form: dict[str, Any]
) -> None:
    made = chat.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=16, **form)
    (record,) = provider.calls
    assert list(differences(made)) == []
    assert [len(item.embedding) for item in made.data] == [16, 16]
    assert BilledTokens(input_tokens=made.usage.prompt_tokens) == record.reported
    assert ('"base64"' in provider.exchanges[0].request.decode()) == (not form)


@pytest.mark.parametrize("streamed", [False, True])
def test_legacy_completions_match_the_vendors_model(
    provider: LocalProvider, chat: openai.OpenAI, streamed: bool
) -> None:
    more: Any = {"stream": True, "stream_options": USAGE} if streamed else {}
    made: Any = chat.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", **more)
    parts = list(made) if streamed else [made]
    # The vendor's model requires a finish_reason. The chunks of the real API have null until the last one.
    found = [difference for part in parts for difference in differences(part) if "finish_reason\n" not in difference]
    assert found == []
    usage = parts[-1].usage
    assert BilledTokens(usage.prompt_tokens, usage.completion_tokens) == provider.calls[0].reported


def test_azure_has_its_own_paths(provider: LocalProvider, azure: openai.AzureOpenAI) -> None:
    azure.chat.completions.create(model="my-deployment", messages=MESSAGES)
    azure.responses.create(model="gpt-4o", input="x")
    azure.embeddings.create(model="text-embedding-3-small", input="x")
    chunks = list(azure.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True, stream_options=USAGE))
    assert chunks[0].choices == []
    assert chunks[-1].usage is not None
    assert chat_usage(chunks[-1].usage) == provider.calls[-1].reported
    assert [(call.provider, call.operation) for call in provider.calls] == [
        ("azure", "chat"),
        ("azure", "responses"),
        ("azure", "embeddings"),
        ("azure", "chat"),
    ]
    assert provider.calls[0].response_model == "my-deployment"
    assert provider.exchanges[0].path == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"


def test_the_asynchronous_client_receives_the_same(provider: LocalProvider) -> None:
    async def use() -> list[BilledTokens]:
        async with openai.AsyncOpenAI(base_url=provider.openai_base_url, api_key=OPENAI_KEY) as client:
            completion = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=True, stream_options=USAGE
            )
            chunks = [chunk async for chunk in stream]
            return [chat_usage(completion.usage), chat_usage(chunks[-1].usage)]

    assert asyncio.run(use()) == [call.reported for call in provider.calls]


def test_models_are_listed(chat: openai.OpenAI) -> None:
    listed = list(chat.models.list())
    assert [difference for model in listed for difference in differences(model)] == []
    assert "gpt-4o-2024-08-06" in [model.id for model in listed]
