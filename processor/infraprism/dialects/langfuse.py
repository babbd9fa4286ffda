"""Langfuse's own SDKs. The usage is a JSON text in the shape that the application or wrapper passed to Langfuse.

Shapes: the usage objects of OpenAI, Anthropic, Google and Bedrock, and Langfuse's own `input`, `output` and `total`
with `input_...` and `output_...` parts, which are not included in the two. There is no provider, so that the model
determines it, and no response id. Langfuse's computed cost is not read. Observations of other types than generation
and embedding are not calls, and neither are those that have nothing but the type.

The handler for LangChain and the wrapper of the openai package write in the same scope. Importing the wrapper also
instruments LangChain's client. Only the handler's spans have LangChain's metadata.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects.table import As, Dialect, Layer, NotInTotal, RawSpan, SpanFields, with_fields
from infraprism.dialects.values import UNPRICED, error_from_message, map_words

_USAGE: Final = "langfuse.observation.usage_details"

LANGFUSE: Final = Dialect(
    name="Langfuse",
    required_any=frozenset({"langfuse.observation.type"}),
    operations={"generation": "chat", "embedding": "embeddings"},
    # The wrappers of openai, in Python and Node, write `generation` for calls of all kinds.
    operation_by_model=True,
    keys={
        "operation": ("langfuse.observation.type",),
        "request_model": ("langfuse.observation.model.name", "gen_ai.request.model"),
        "response_model": ("gen_ai.response.model",),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "host": ("server.address",),
        # The error is in the status message, of which only a status or a known error name is read.
        "error": ("error.type", As("langfuse.observation.level", map_words(ERROR="_OTHER"))),
        "error_code": (As("langfuse.observation.status_message", error_from_message),),
        "input_tokens": (
            f"{_USAGE}.prompt_tokens",
            f"{_USAGE}.input_tokens",
            f"{_USAGE}.input",
            f"{_USAGE}.promptTokens",
            f"{_USAGE}.inputTokens",
            f"{_USAGE}.prompt_token_count",
            f"{_USAGE}.promptTokenCount",
            f"{_USAGE}.inputTokenCount",
        ),
        "output_tokens": (
            f"{_USAGE}.completion_tokens",
            f"{_USAGE}.output_tokens",
            f"{_USAGE}.output",
            f"{_USAGE}.completionTokens",
            f"{_USAGE}.outputTokens",
            f"{_USAGE}.candidates_token_count",
            f"{_USAGE}.candidatesTokenCount",
            f"{_USAGE}.outputTokenCount",
        ),
        "total_tokens": (
            f"{_USAGE}.total_tokens",
            f"{_USAGE}.total",
            f"{_USAGE}.totalTokens",
            f"{_USAGE}.total_token_count",
            f"{_USAGE}.totalTokenCount",
        ),
        "cache_read_tokens": (
            f"{_USAGE}.prompt_tokens_details.cached_tokens",
            f"{_USAGE}.input_tokens_details.cached_tokens",
            f"{_USAGE}.input_token_details.cache_read",
            f"{_USAGE}.cached_content_token_count",
            f"{_USAGE}.cachedContentTokenCount",
            NotInTotal(f"{_USAGE}.cache_read_input_tokens"),
            NotInTotal(f"{_USAGE}.cacheReadInputTokens"),
            NotInTotal(f"{_USAGE}.input_cache_read"),
            NotInTotal(f"{_USAGE}.input_cached_tokens"),
            NotInTotal(f"{_USAGE}.cacheReadInputTokenCount"),
        ),
        "cache_write_tokens": (
            f"{_USAGE}.prompt_tokens_details.cache_creation_tokens",
            f"{_USAGE}.input_token_details.cache_creation",
            NotInTotal(f"{_USAGE}.cache_creation_input_tokens"),
            NotInTotal(f"{_USAGE}.cacheWriteInputTokens"),
            NotInTotal(f"{_USAGE}.cacheWriteInputTokenCount"),
            # LangChain's. The second is the writes for five minutes where the first is 0.
            NotInTotal(f"{_USAGE}.input_ephemeral_5m_input_tokens"),
            NotInTotal(f"{_USAGE}.input_cache_creation"),
            NotInTotal(f"{_USAGE}.input_cache_write_tokens"),
        ),
        "cache_write_1h_tokens": (
            f"{_USAGE}.cache_creation.ephemeral_1h_input_tokens",
            f"{_USAGE}.cache_creation_ephemeral_1h_input_tokens",
            NotInTotal(f"{_USAGE}.input_ephemeral_1h_input_tokens"),
        ),
        "reasoning_tokens": (
            f"{_USAGE}.completion_tokens_details.reasoning_tokens",
            f"{_USAGE}.output_tokens_details.reasoning_tokens",
            f"{_USAGE}.output_tokens_details.thinking_tokens",
            f"{_USAGE}.output_token_details.reasoning",
            NotInTotal(f"{_USAGE}.output_reasoning"),
            NotInTotal(f"{_USAGE}.output_reasoning_tokens"),
            NotInTotal(f"{_USAGE}.thoughts_token_count"),
            NotInTotal(f"{_USAGE}.thoughtsTokenCount"),
        ),
        "audio_input_tokens": (
            f"{_USAGE}.prompt_tokens_details.audio_tokens",
            NotInTotal(f"{_USAGE}.input_audio"),
            NotInTotal(f"{_USAGE}.input_audio_tokens"),
        ),
        "audio_output_tokens": (
            f"{_USAGE}.completion_tokens_details.audio_tokens",
            NotInTotal(f"{_USAGE}.output_audio"),
            NotInTotal(f"{_USAGE}.output_audio_tokens"),
        ),
        "service_tier": (f"{_USAGE}.service_tier",),
        "web_searches": (f"{_USAGE}.server_tool_use.web_search_requests",),
        "region": (f"{_USAGE}.inference_geo",),
        "speed": (f"{_USAGE}.speed",),
        "has_unpriced_usage": (
            UNPRICED,
            f"{_USAGE}.server_tool_use.code_execution_requests",
            f"{_USAGE}.iterations.1.output_tokens",
        ),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("session.id", "user.id"),
    },
    needs=("request_model", "response_model", "input_tokens", "output_tokens", "error"),
    json_texts=frozenset({_USAGE}),
    usage_texts=frozenset({_USAGE}),
    zero_is_unreported=True,
)


def _langchain_scope(span: RawSpan, fields: SpanFields) -> SpanFields:  # noqa: ARG001 - a refine function
    """The handler and the wrapper of openai write in one scope, and both report a call of LangChain's OpenAI client."""
    return with_fields(fields, dedup_scope="langfuse.langchain")


LANGFUSE_LANGCHAIN: Final = replace(
    LANGFUSE,
    name="Langfuse for LangChain",
    exclusive_keys=frozenset(
        {"langfuse.observation.metadata.ls_model_type", "langfuse.observation.metadata.ls_provider"}
    ),
    layer=Layer.FRAMEWORK,
    refine=_langchain_scope,
)
"""The handler for LangChain."""
