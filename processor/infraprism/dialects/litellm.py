"""LiteLLM's OpenTelemetry callback, by default and with the conventions opted in.

With an open span LiteLLM writes on that span instead of one of its own, so that its exclusive keys identify it too. If
that span has already ended, nothing is written; set USE_OTEL_LITELLM_REQUEST_SPAN to avoid this. The child span
`raw_gen_ai_request` has no operation and is not a call. Cached and reasoning tokens are only in
`metadata.usage_object`, the usage as Python's repr. A stream without usage has zeros or an estimate of LiteLLM's
tokenizer. Its computed costs are not read.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.refinements import names_model, without_counts
from infraprism.dialects.table import Dialect, Layer, RawSpan, SpanFields

_USAGE: Final = "metadata.usage_object"
_CALLS: Final = {
    "completion": "chat",  # LiteLLM's name for all chats
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
_OPENAI: Final = "^(?:ft:)?(?:gpt-[0-9]|chatgpt-|o[0-9])"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:
    """A stream of OpenAI without cached tokens has LiteLLM's own estimate: OpenAI always reports them, also 0.

    See the fixtures in litellm.json.
    """
    if not fields.streamed or fields.cache_read_tokens is not None or not names_model(fields, _OPENAI):
        return fields
    # Behind the collector the usage object is flattened.
    has_usage_object = any(type(key) is str and key.startswith(_USAGE) for key in span.attributes)
    return without_counts(fields) if has_usage_object else fields


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
        # By default `gen_ai.operation.name` is `chat` for every call.
        "operation": ("llm.request.type", "gen_ai.operation.name"),
    },
    json_texts=frozenset({_USAGE}),
    zero_is_unreported=True,
    layer=Layer.WRAPPER,
    refine=_refine,
)
