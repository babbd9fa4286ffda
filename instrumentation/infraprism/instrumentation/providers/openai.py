"""The openai package: OpenAI, Azure OpenAI, and every service with an OpenAI-compatible API.

Field names are from the published API reference: `usage` of chat completions, of responses and of embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.usage_reader import (
    Derived,
    Operation,
    StreamEvent,
    Table,
    amount,
    get_field,
    usd,
)


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
    "prompt_tokens": key.INPUT_TOKENS,
    "prompt_cache_hit_tokens": key.CACHE_READ_TOKENS,  # DeepSeek's older name for cached_tokens
    "cached_tokens": key.CACHE_READ_TOKENS,  # Moonshot
    "cache_read_input_tokens": key.CACHE_READ_TOKENS,  # gateways, from Anthropic
    "cache_creation_input_tokens": key.CACHE_WRITE_TOKENS,
    "prompt_tokens_details": {
        "cached_tokens": key.CACHE_READ_TOKENS,
        "cache_creation_tokens": key.CACHE_WRITE_TOKENS,  # LiteLLM's proxy
        "cache_creation_input_tokens": key.CACHE_WRITE_TOKENS,  # Alibaba Model Studio
        "cache_write_tokens": key.CACHE_WRITE_TOKENS,
        "audio_tokens": key.AUDIO_INPUT_TOKENS,
    },
    "completion_tokens": key.OUTPUT_TOKENS,
    "reasoning_tokens": key.REASONING_TOKENS,  # Perplexity
    "completion_tokens_details": {
        "reasoning_tokens": key.REASONING_TOKENS,
        "audio_tokens": key.AUDIO_OUTPUT_TOKENS,
    },
    "total_tokens": key.TOTAL_TOKENS,
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
    "model": key.RESPONSE_MODEL,
    "service_tier": key.OPENAI_SERVICE_TIER,
    "error": {"code": key.ERROR_TYPE},
    "usage": {
        "input_tokens": key.INPUT_TOKENS,
        "input_tokens_details": {
            "cached_tokens": key.CACHE_READ_TOKENS,
            "cache_write_tokens": key.CACHE_WRITE_TOKENS,
        },
        "output_tokens": key.OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": key.REASONING_TOKENS},
        "total_tokens": key.TOTAL_TOKENS,
        **_REPORTED_COST,
    },
    "tool_usage": {"web_search": {"num_requests": key.WEB_SEARCHES}},
}
_RESPONSE_EVENT: Final = StreamEvent(("response",), _RESPONSE)

_CHAT: Final = Operation("chat", _COMPLETION, constants={key.OPENAI_API_TYPE: "chat_completions"})
_RESPONSES: Final = Operation(
    "chat",
    _RESPONSE,
    events={
        "response.created": _RESPONSE_EVENT,
        "response.completed": _RESPONSE_EVENT,
        "response.incomplete": _RESPONSE_EVENT,
        "response.failed": _RESPONSE_EVENT,
        "error": StreamEvent((), {"code": key.ERROR_TYPE}),
    },
    constants={key.OPENAI_API_TYPE: "responses"},
)
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
        "/completions": Operation("text_completion", _COMPLETION),
    },
    other_providers={
        "BaseAzureClient": "azure.ai.openai",
        "BedrockOpenAI": "aws.bedrock",
        "AsyncBedrockOpenAI": "aws.bedrock",
        "bedrock": "aws.bedrock",
        "vertex": "gcp.vertex_ai",
    },
)
