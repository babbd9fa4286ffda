"""The openai package: OpenAI, Azure OpenAI, and every service with an OpenAI-compatible API.

Field names are from the published API reference: `usage` of chat completions, of responses and of embeddings.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from infraprism.instrumentation import background
from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.usage_reader import Operation, StreamEvent, Table

_COMPLETION: Final[Table] = {
    "id": key.RESPONSE_ID,
    "model": key.RESPONSE_MODEL,
    "service_tier": key.OPENAI_SERVICE_TIER,
    "usage": {
        "prompt_tokens": key.INPUT_TOKENS,
        "prompt_cache_hit_tokens": key.CACHE_READ_TOKENS,  # DeepSeek's older name for cached_tokens
        "prompt_tokens_details": {
            "cached_tokens": key.CACHE_READ_TOKENS,
            "cache_write_tokens": key.CACHE_WRITE_TOKENS,
            "audio_tokens": key.AUDIO_INPUT_TOKENS,
        },
        "completion_tokens": key.OUTPUT_TOKENS,
        "completion_tokens_details": {
            "reasoning_tokens": key.REASONING_TOKENS,
            "audio_tokens": key.AUDIO_OUTPUT_TOKENS,
        },
        "cost": key.REPORTED_COST_USD,  # OpenRouter
    },
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
        "input_tokens": key.INPUT_TOKENS,
        "input_tokens_details": {
            "cached_tokens": key.CACHE_READ_TOKENS,
            "cache_write_tokens": key.CACHE_WRITE_TOKENS,
        },
        "output_tokens": key.OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": key.REASONING_TOKENS},
        "cost": key.REPORTED_COST_USD,  # OpenRouter
    },
    "tool_usage": {"web_search": {"num_requests": key.WEB_SEARCHES}},
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


_EMBEDDINGS: Final = Operation("embeddings", {"model": key.RESPONSE_MODEL, "usage": _COMPLETION["usage"]})

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
