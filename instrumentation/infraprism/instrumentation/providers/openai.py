"""The openai package: OpenAI, Azure OpenAI, and every service with an OpenAI-compatible API.

Field names are from the published API reference: `usage` of chat completions, of responses and of embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from infraprism.instrumentation import background
from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.providers import openai_output
from infraprism.instrumentation.usage_reader import (
    CLOSED,
    IGNORED,
    Derived,
    Operation,
    StreamEvent,
    Table,
    amount,
    get_field,
    usd,
)

# Fields of usage that change no bill by themselves: totals, parts that are priced as the whole, costs, durations. Each
# other number is usage without a rate. Sources, read on 2026-11-30: the API references of OpenAI, Azure, DeepSeek,
# Groq, xAI, Mistral, OpenRouter, SambaNova and Perplexity.
_NO_FEE: Final[Table] = dict.fromkeys(
    (
        *("cached_tokens", "num_cached_tokens", "prompt_cache_miss_tokens", "is_byok"),
        *("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"),
        *("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"),
        *("cost_details", "market_cost"),
        *("queue_time", "prompt_time", "completion_time", "total_time", "latency_checkpoint"),
        *("start_time", "end_time", "time_to_first_token", "total_latency", "total_tokens_per_sec", "acceptance_rate"),
        *("completion_tokens_per_sec", "completion_tokens_after_first_per_sec"),
        *("completion_tokens_after_first_per_sec_first_ten", "completion_tokens_after_first_per_sec_graph"),
    ),
    IGNORED,
)
_INPUT_MEDIA: Final[Table] = dict.fromkeys(("text_tokens", "image_tokens", "video_tokens"), IGNORED)
_OUTPUT_TEXT: Final[Table] = dict.fromkeys(
    ("text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"), IGNORED
)
_SERVER_TOOLS: Final[Table] = {**CLOSED, "web_search_requests": key.WEB_SEARCHES}  # gateways in front of Anthropic


def _cost(usage: Mapping[str, Any]) -> str | None:
    """`usage.cost`: a number in USD (OpenRouter and other gateways), or an object with `total_cost` (Perplexity).

    With the user's own key OpenRouter bills its fee, and the provider bills `upstream_inference_cost` in addition:
    https://openrouter.ai/docs/use-cases/usage-accounting. With OpenRouter's key the upstream cost is part of `cost`.
    Older responses have no `is_byok`; their fee is a small part of the upstream cost.
    """
    reported = usage["cost"]
    cost = amount(reported)
    if cost is None:
        # https://docs.perplexity.ai/api-reference: the sum of tokens and fees, in USD.
        is_usd = get_field(reported, "currency") in (None, "USD")
        cost = amount(get_field(reported, "total_cost")) if is_usd else None
        return None if cost is None else usd(cost)
    upstream = amount(get_field(usage.get("cost_details"), "upstream_inference_cost"))
    is_own_key = usage.get("is_byok")
    if is_own_key is None:
        is_own_key = upstream is not None and upstream > cost
    if is_own_key is not True:
        return usd(cost)
    return None if not upstream else usd(cost + upstream)


def _cost_of_ticks(usage: Mapping[str, Any]) -> str | None:
    """xAI: what was billed, in ticks of 1e-10 USD; https://docs.x.ai/developers/cost-tracking."""
    ticks = usage["cost_in_usd_ticks"]
    return usd(Decimal(ticks).scaleb(-10).normalize()) if type(ticks) is int and 0 <= ticks <= _MAX_TICKS else None


# `num_sources_used` of xAI has no rate here: the call is incomplete unless the ticks are reported. Each source of Live
# Search cost 0.025 USD (https://docs.x.ai/docs/guides/live-search, read on 2026-11-30); the API is deprecated, and what
# a source costs now is not known.
_MAX_TICKS: Final = 10**20


def _estimated_cost(usage: Mapping[str, Any]) -> str | None:
    """DeepInfra: the cost of the call in USD; https://deepinfra.com/docs/openai_api."""
    cost = amount(usage["estimated_cost"])
    return None if cost is None else usd(cost)


_REPORTED_COST: Final[Table] = {
    "estimated_cost": Derived(key.REPORTED_COST_USD, _estimated_cost),
    "cost_in_usd_ticks": Derived(key.REPORTED_COST_USD, _cost_of_ticks),
    "cost": Derived(key.REPORTED_COST_USD, _cost),
}
_USAGE: Final[Table] = {
    **_NO_FEE,
    "prompt_tokens": key.INPUT_TOKENS,
    "prompt_cache_hit_tokens": key.CACHE_READ_TOKENS,  # DeepSeek's older name for cached_tokens
    "cached_tokens": key.CACHE_READ_TOKENS,  # Moonshot
    "cache_read_input_tokens": key.CACHE_READ_TOKENS,  # gateways, from Anthropic
    "cache_creation_input_tokens": key.CACHE_WRITE_TOKENS,
    "prompt_tokens_details": {
        **_INPUT_MEDIA,
        "cached_tokens": key.CACHE_READ_TOKENS,
        "cache_creation": {"ephemeral_5m_input_tokens": IGNORED},  # Alibaba Model Studio
        "cache_creation_tokens": key.CACHE_WRITE_TOKENS,  # LiteLLM's proxy
        "cache_creation_input_tokens": key.CACHE_WRITE_TOKENS,  # Alibaba Model Studio
        "cache_write_tokens": key.CACHE_WRITE_TOKENS,
        "audio_tokens": key.AUDIO_INPUT_TOKENS,
    },
    "completion_tokens": key.OUTPUT_TOKENS,
    "reasoning_tokens": key.REASONING_TOKENS,  # Perplexity
    "completion_tokens_details": {
        **_OUTPUT_TEXT,
        "reasoning_tokens": key.REASONING_TOKENS,
        "audio_tokens": key.AUDIO_OUTPUT_TOKENS,
    },
    "total_tokens": key.TOTAL_TOKENS,
    "num_search_queries": key.WEB_SEARCHES,  # Perplexity
    "server_tool_use": _SERVER_TOOLS,
    **_REPORTED_COST,
}
_COMPLETION: Final[Table] = {
    "id": key.RESPONSE_ID,
    "model": key.RESPONSE_MODEL,
    "service_tier": key.OPENAI_SERVICE_TIER,
    # Streams of Groq and of Moonshot report the usage there, also if it was not requested.
    "x_groq": {"usage": _USAGE},
    "choices": {"usage": _USAGE},
    "usage": _USAGE,
}
_RESPONSE: Final[Table] = {
    "id": key.RESPONSE_ID,
    "status": key.RESPONSE_STATUS,
    "background": key.IS_BACKGROUND,
    "created_at": key.CREATED_AT,
    "completed_at": key.COMPLETED_AT,
    "model": key.RESPONSE_MODEL,
    "service_tier": key.OPENAI_SERVICE_TIER,
    "error": {"code": key.ERROR_TYPE},
    "usage": {
        **_NO_FEE,
        "server_tool_use": _SERVER_TOOLS,
        "input_tokens": key.INPUT_TOKENS,
        "input_tokens_details": {
            **_INPUT_MEDIA,
            "cache_write_tokens_details": {"ttl_30m_tokens": IGNORED},
            "cached_tokens": key.CACHE_READ_TOKENS,
            "cache_write_tokens": key.CACHE_WRITE_TOKENS,
        },
        "output_tokens": key.OUTPUT_TOKENS,
        "output_tokens_details": {**_OUTPUT_TEXT, "reasoning_tokens": key.REASONING_TOKENS},
        "total_tokens": key.TOTAL_TOKENS,
        **_REPORTED_COST,
    },
    "tool_usage": {**CLOSED, "web_search": {**CLOSED, "num_requests": key.WEB_SEARCHES}},
    "output": openai_output.read,
}
_RESPONSE_EVENT: Final = StreamEvent(("response",), _RESPONSE)

_CHAT: Final = Operation(
    "chat", _COMPLETION, constants={key.OPENAI_API_TYPE: "chat_completions"}, usage_on_request=True
)
_RESPONSES: Final = Operation(
    "chat",
    _RESPONSE,
    events={
        "response.created": _RESPONSE_EVENT,
        "response.queued": _RESPONSE_EVENT,
        "response.completed": _RESPONSE_EVENT,
        "response.incomplete": _RESPONSE_EVENT,
        "response.failed": _RESPONSE_EVENT,
        "error": StreamEvent((), {"code": key.ERROR_TYPE}),
    },
    constants={key.OPENAI_API_TYPE: "responses"},
    on_end=background.complete_created,
)
_STORED_RESPONSE: Final = replace(_RESPONSES, on_end=None)
_STORED_RESPONSE_PATHS: Final = {
    "get": re.compile(r"/responses/[^/?]+/?(?:\?|$)"),
    "post": re.compile(r"/responses/[^/?]+/cancel/?(?:\?|$)"),
}


def _stored_response(method: str, url: str) -> Operation | None:
    """The operation that returns a response of an earlier request, which may have been made in the background."""
    path = _STORED_RESPONSE_PATHS.get(method.lower())
    return None if path is None or path.search(url) is None else _STORED_RESPONSE


_EMBEDDINGS: Final = Operation("embeddings", {"model": key.RESPONSE_MODEL, "usage": _USAGE})

OPENAI: Final = ClientPackage(
    name="openai",
    oldest=(1, 55, 3),
    provider="openai",
    operations={
        "/chat/completions": _CHAT,
        "/responses": _RESPONSES,
        "/responses/compact": _RESPONSES,
        "/embeddings": _EMBEDDINGS,
        "/completions": Operation("text_completion", _COMPLETION, usage_on_request=True),
    },
    stored_response=_stored_response,
    not_observed=(
        "images",
        "audio (speech, transcriptions, translations)",
        "videos",
        "batches",
        "realtime",
        "responses over WebSocket",
        "assistants (threads and runs)",
        "fine-tuning",
    ),
    other_providers={
        "BaseAzureClient": "azure.ai.openai",
        "BedrockOpenAI": "aws.bedrock",
        "AsyncBedrockOpenAI": "aws.bedrock",
        "bedrock": "aws.bedrock",
        "vertex": "gcp.vertex_ai",
    },
)
