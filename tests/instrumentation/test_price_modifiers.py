"""What a response reports about its price is priced, or the call is incomplete; it is never priced without it."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.llm_call import LLMCall
from infraprism.instrumentation.providers import PACKAGES
from infraprism.processor import to_event
from infraprism.schema import Event
from infraprism.schema.usage_parts import Part, decoded, encoded

MESSAGES, CHAT, RESPONSES = (
    next(found for package in PACKAGES for path, found in package.operations.items() if path == wanted)
    for wanted in ("/v1/messages", "/chat/completions", "/responses")
)
TOKENS = {"input_tokens": 1000, "output_tokens": 100}
COMPACTION = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500}
TURN = {"type": "message", "input_tokens": 1000, "output_tokens": 100}
ADVICE = {"type": "advisor_message", "model": "claude-opus-4-6", "input_tokens": 823, "output_tokens": 1612}


def objects(value: Any) -> Any:
    """The same response as objects, as a client package makes them."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: objects(item) for name, item in value.items()})
    return [objects(item) for item in value] if isinstance(value, list) else value


def event(operation: Any, provider: str, *chunks: Any) -> Event:
    """The event of a response, or of the chunks of a stream."""
    recorded = RecordedSpans()
    attributes: dict[str, Any] = {key.OPERATION: "chat", key.PROVIDER: provider}
    call = LLMCall(recorded.provider.get_tracer("t").start_span("chat", attributes=attributes), operation, 1)
    for chunk in chunks:
        (call.on_chunk if len(chunks) > 1 else call.on_response)(chunk)
    call.stop()
    made = to_event(recorded.only())
    assert made is not None
    return made


def message(usage: dict[str, Any], model: str = "claude-sonnet-4-6", *, stream: bool = False) -> Event:
    whole = {"id": "m", "model": model, "usage": {**TOKENS, **usage}}
    if not stream:
        return event(MESSAGES, "anthropic", objects(whole))
    start = {**whole, "usage": {**whole["usage"], "output_tokens": 1, "iterations": None}}  # type: ignore[dict-item]
    return event(
        MESSAGES,
        "anthropic",
        objects({"type": "message_start", "message": start}),
        objects({"type": "message_delta", "usage": whole["usage"]}),
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "usage", "cost_usd"),
    [
        ("claude-sonnet-4-6", {}, "0.0045"),
        ("claude-sonnet-4-6", {"inference_geo": "us"}, "0.00495"),
        ("claude-sonnet-4-6", {"inference_geo": "global", "speed": "standard"}, "0.0045"),
        ("claude-sonnet-4-6", {"inference_geo": "not_available"}, "0.0045"),
        ("claude-sonnet-4-6", {"inference_geo": "eu"}, None),
        ("claude-sonnet-4-5-20250929", {"inference_geo": "us"}, "0.0045"),
        ("claude-sonnet-4-6", {"inference_geo": "us", "cache_read_input_tokens": 1000}, "0.00528"),
        ("claude-opus-4-6", {"speed": "fast"}, "0.045"),
        ("claude-opus-4-6", {"speed": "fast", "inference_geo": "us"}, "0.0495"),
        ("claude-opus-4-8", {"speed": "fast"}, "0.015"),
        ("claude-sonnet-4-6", {"speed": "fast"}, None),
        ("claude-opus-4-6", {"speed": "warp"}, None),
        ("claude-sonnet-4-6", {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3}}, "0.0245"),
        ("claude-sonnet-4-6", {"server_tool_use": {"code_execution_requests": 1}}, None),
        ("claude-sonnet-4-6", {"server_tool_use": {"code_execution_requests": 0}}, "0.0045"),
        ("claude-sonnet-4-6", {"fallback_credit": {"status": {"type": "redeemed"}}}, None),
        ("claude-sonnet-4-6", {"fallback_credit": {"status": {"type": "not_applied"}}}, "0.0045"),
        ("claude-sonnet-4-6", {"some_new_tokens": 7}, None),
        ("claude-sonnet-4-6", {"some_new_tokens": 0, "some_new_text": "x"}, "0.0045"),
        ("claude-sonnet-4-6", {"some_new": {"deep": [{"tokens": 1}]}}, None),
    ],
)
def test_a_modifier_of_anthropic_is_priced_or_leaves_the_call_incomplete(
    model: str, usage: dict[str, Any], cost_usd: str | None, stream: bool
) -> None:
    found = message(usage, model, stream=stream)
    assert (found.cost_status, found.cost_usd) == (
        ("incomplete", None) if cost_usd is None else ("priced", Decimal(cost_usd))
    )


def test_fast_mode_of_another_provider_has_no_known_price() -> None:
    whole = {"id": "m", "model": "claude-opus-4-6", "usage": {**TOKENS, "speed": "fast"}}
    assert event(MESSAGES, "gcp.vertex_ai", whole).cost_status == "incomplete"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("iterations", "counts", "cost_usd"),
    [
        ([TURN], (1000, 100), "0.0045"),
        ([{**TURN, "input_tokens": 400}, {**TURN, "input_tokens": 600, "output_tokens": 0}], (1000, 100), "0.0045"),
        ([COMPACTION, TURN], (181_000, 3600), "0.597"),
        ([{**COMPACTION, "input_tokens": 0, "cache_read_input_tokens": 100_000}, TURN], (101_000, 3600), "0.087"),
        ([TURN, ADVICE], (1823, 1712), "0.048915"),
        ([TURN, {**ADVICE, "model": "a-new-model"}], (1823, 1712), None),
        ([COMPACTION, {**TURN, "input_tokens": 999}], (1000, 100), None),
        ([{**TURN, "type": "something_new"}], (1000, 100), None),
        ([{**TURN, "type": "fallback_message", "model": "claude-haiku-4-5"}], (1000, 100), "0.0015"),
    ],
)
def test_each_iteration_is_priced_at_its_model_and_all_tokens_count(
    iterations: list[dict[str, Any]], counts: tuple[int, int], cost_usd: str | None, stream: bool
) -> None:
    found = message({"iterations": iterations}, stream=stream)
    assert (found.model, found.input_tokens, found.output_tokens) == ("claude-sonnet-4-6", *counts)
    assert (found.cost_status, found.cost_usd) == (
        ("incomplete", None) if cost_usd is None else ("priced", Decimal(cost_usd))
    )


def test_each_iteration_has_its_own_limit_of_a_long_prompt() -> None:
    turns = [{**TURN, "input_tokens": 150_000}, {**TURN, "input_tokens": 150_000, "output_tokens": 0}]
    found = message({"input_tokens": 300_000, "iterations": turns}, "claude-sonnet-4-20250514")
    assert found.cost_usd == Decimal("0.9015")


def test_searches_are_billed_once_beside_the_parts() -> None:
    usage = {"iterations": [COMPACTION, TURN], "server_tool_use": {"web_search_requests": 1}}
    assert message(usage).cost_usd == Decimal("0.607")


def response(*output: dict[str, Any], **more: Any) -> Event:
    whole = {"id": "r", "model": "gpt-5.4", "output": list(output), "usage": TOKENS, **more}
    found = event(RESPONSES, "openai", whole)
    streamed = event(
        RESPONSES,
        "openai",
        {"type": "response.created", "response": {**whole, "output": [], "usage": None}},
        {"type": "response.completed", "response": whole},
    )
    assert (found.cost_status, found.cost_usd) == (streamed.cost_status, streamed.cost_usd)
    return found


SEARCH = {"type": "web_search_call", "action": {"type": "search", "query": "q"}}


@pytest.mark.parametrize(
    ("output", "more", "cost_usd"),
    [
        ([], {}, "0.004"),
        ([{"type": "message"}, {"type": "reasoning"}, {"type": "function_call"}, {"type": "mcp_call"}], {}, "0.004"),
        ([SEARCH, SEARCH, {"type": "web_search_call", "action": {"type": "open_page"}}], {}, "0.024"),
        ([{"type": "web_search_call"}], {}, "0.014"),
        ([SEARCH, SEARCH], {"tool_usage": {"web_search": {"num_requests": 1}}}, "0.014"),
        ([{"type": "web_search_call", "action": {"type": "something_new"}}], {}, None),
        ([{"type": "file_search_call"}], {}, None),
        ([{"type": "code_interpreter_call"}], {}, None),
        ([{"type": "image_generation_call"}], {}, None),
        ([{"type": "something_new_call"}], {}, None),
        ([{"type": "shell_call", "environment": {"type": "local"}}, {"type": "shell_call_output"}], {}, "0.004"),
        ([{"type": "shell_call", "environment": {"type": "container_reference"}}], {}, None),
        ([], {"tool_usage": {"image_gen": {"input_tokens": 3, "total_tokens": 3}}}, None),
        ([], {"tool_usage": {"image_gen": {"input_tokens": 0}, "something_new": {"calls": 0}}}, "0.004"),
        ([], {"tool_usage": {"something_new": {"calls": 1}}}, None),
    ],
)
def test_a_hosted_tool_is_priced_or_leaves_the_call_incomplete(
    output: list[dict[str, Any]], more: dict[str, Any], cost_usd: str | None
) -> None:
    found = response(*output, **more)
    assert (found.cost_status, found.cost_usd) == (
        ("incomplete", None) if cost_usd is None else ("priced", Decimal(cost_usd))
    )


@pytest.mark.parametrize(
    ("usage", "status"),
    [
        ({"total_tokens": 1100}, "priced"),
        ({"queue_time": 0.1, "prompt_time": 0.2, "cost_details": {"upstream_inference_cost": 0.1}}, "priced"),
        ({"prompt_tokens_details": {"text_tokens": 900, "image_tokens": 100}}, "priced"),
        ({"completion_tokens_details": {"accepted_prediction_tokens": 3, "image_tokens": 0}}, "priced"),
        ({"completion_tokens_details": {"image_tokens": 3}}, "incomplete"),
        ({"cached_tokens": 900, "num_cached_tokens": 900}, "priced"),
        ({"prompt_cache_hit_tokens": 900, "prompt_cache_miss_tokens": 100}, "priced"),
        ({"prompt_tokens_details": {"cached_tokens": 9, "cache_creation": {"ephemeral_5m_input_tokens": 9}}}, "priced"),
        ({"cost": 0.5, "is_byok": False}, "provider_reported"),
        ({"cost": {"total_cost": 0.5, "request_cost": 0.1}}, "provider_reported"),
        ({"cost_in_usd_ticks": 37756000, "num_sources_used": 4}, "provider_reported"),
        ({"estimated_cost": 0.5}, "provider_reported"),
        ({"cost": 1.5, "is_byok": True}, "priced"),
        ({"num_sources_used": 0}, "priced"),
        ({"num_sources_used": 4}, "incomplete"),
        ({"prompt_audio_seconds": 12}, "incomplete"),
    ],
)
def test_a_number_in_an_unknown_field_of_usage_leaves_the_call_incomplete(usage: dict[str, Any], status: str) -> None:
    whole = {"id": "c", "model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 100, **usage}}
    assert event(CHAT, "openai", whole).cost_status == status
    assert event(CHAT, "openai", objects(whole)).cost_status == status


def test_parts_of_usage_are_read_as_they_were_written() -> None:
    parts = [Part(None, 1, 2, 3, 4, 5), Part("claude-opus-4-6", 10**12, 0)]
    assert decoded(encoded(parts)) == parts
    assert encoded([]) is None
    assert encoded([Part("a model", 1, 1)]) is None
    assert encoded([Part(None, 1, 1)] * 65) is None
    for text in ("", "_/1:2", "_/1:2:3:4:5//", "_/1:2:3:4:x", "_/9999999999999:0:0:0:0", None, 7):
        assert decoded(text) is None
