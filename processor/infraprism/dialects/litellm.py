"""LiteLLM's OpenTelemetry callback, by default and with the conventions opted in.

Where a span is under way it writes on that one, so that it is told by keys of its own as well; if that span
has ended by then, nothing is written and the call cannot be seen. Its setting USE_OTEL_LITELLM_REQUEST_SPAN helps.
The child span `raw_gen_ai_request` names no operation and is no call. Cached and reasoning tokens stand only in
`metadata.usage_object`, the usage as Python prints it. A stream without usage has zeros, or what its own tokenizer
counts: that has no details of the prompt, which OpenAI itself always gives. Its costs are computed by itself, and not
read.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Lacking, Layer

_USAGE: Final = "metadata.usage_object"
_CALLS: Final = {
    "completion": "chat",  # its name for all of chat
    "responses": "chat",
    "anthropic_messages": "chat",
    "generate_content": "chat",
    "generate_content_stream": "chat",
    "text_completion": "completion",
    "embedding": "embeddings",
    "rerank": "rerank",
    "image_generation": "image",
    "image_edit": "image",
    "image_variation": "image",
    "transcription": "audio",
    "speech": "audio",
}

LITELLM: Final = Dialect(
    name="LiteLLM",
    required_any=frozenset({"gen_ai.operation.name", "llm.request.type"}),
    scopes=("litellm",),
    exclusive_keys=frozenset({"litellm.call_id", "gen_ai.cost.total_cost", _USAGE}),
    operations={**semconv.OPERATIONS, **_CALLS, **{f"a{name}": meant for name, meant in _CALLS.items()}},
    keys={
        **semconv.keys_with(
            provider=("litellm.provider.model",),
            streamed=("llm.is_streaming",),
            error_code=("error.code",),
            cache_read_tokens=(
                f"{_USAGE}.prompt_tokens_details.cached_tokens",
                f"{_USAGE}.input_tokens_details.cached_tokens",
                f"{_USAGE}.cache_read_input_tokens",
            ),
            cache_write_tokens=(
                f"{_USAGE}.prompt_tokens_details.cache_creation_tokens",
                f"{_USAGE}.cache_creation_input_tokens",
            ),
            cache_write_1h_tokens=(
                f"{_USAGE}.prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
            ),
            reasoning_tokens=(
                f"{_USAGE}.completion_tokens_details.reasoning_tokens",
                f"{_USAGE}.output_tokens_details.reasoning_tokens",
                f"{_USAGE}.output_tokens_details.thinking_tokens",
            ),
            audio_input_tokens=(f"{_USAGE}.prompt_tokens_details.audio_tokens",),
            audio_output_tokens=(f"{_USAGE}.completion_tokens_details.audio_tokens",),
            total_tokens=(f"{_USAGE}.total_tokens",),
            service_tier=(f"{_USAGE}.service_tier",),
        ),
        # By default the operation is always chat, whatever was called.
        "operation": ("llm.request.type", "gen_ai.operation.name"),
    },
    json_texts=frozenset({_USAGE}),
    estimates_lack=Lacking("cache_read_tokens", "^(?:ft:)?(?:gpt-[0-9]|chatgpt-|o[0-9])", _USAGE),
    zero_is_unreported=True,
    layer=Layer.WRAPPER,
)
