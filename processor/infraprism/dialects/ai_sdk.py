"""Vercel's AI SDK for Node: its own `ai.*` keys (versions 4 to 6, and 7 with its legacy integration), and version 7.

Only the inner spans, `doGenerate`, `doStream`, `doEmbed` and `doRerank`, are calls. Outer spans, agents and steps
repeat their sums. From version 6 on the input includes the cache and its parts have keys. In earlier versions the
counts are the provider's own, so that the input of Anthropic and Bedrock excludes the cache. No version has the parts
for calls that generate objects. From version 5 on the provider's metadata has Anthropic's usage, which is the same in
all versions and is therefore preferred. The metadata also has Google's parts, for which version 5 has no keys.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import (
    CACHE_NOT_IN_INPUT,
    As,
    Dialect,
    Layer,
    NotInTotal,
    RawSpan,
    SpanFields,
    with_fields,
)
from infraprism.dialects.values import map_words, milliseconds
from infraprism.providers.detection import provider_of

_PROVIDER: Final = "ai.response.providerMetadata"
_ANTHROPIC: Final = f"{_PROVIDER}.anthropic"
_GOOGLE: Final = tuple(f"{_PROVIDER}.{name}.usageMetadata" for name in ("google", "vertex"))
# With AI SDK 4, OpenLLMetry's SDK moves the metadata to these keys.
_READ: Final = "gen_ai.usage.cache_read.input_tokens"
_WRITTEN: Final = "gen_ai.usage.cache_creation.input_tokens"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:  # noqa: ARG001 - a refine function
    """Bedrock's total is its own, not a sum: if it equals input plus output, the two include the cache.

    Version 6 writes such calls: see the fixtures in ai_sdk_4_to_6.json.
    """
    if not fields.total_tokens or not (fields.cache_read_tokens or fields.cache_write_tokens):
        return fields
    if fields.total_tokens != (fields.input_tokens or 0) + (fields.output_tokens or 0):
        return fields
    provider = provider_of(fields.host, fields.provider, fields.response_model or fields.request_model)
    return with_fields(fields, parts_included=True) if provider == "aws_bedrock" else fields


AI_SDK: Final = Dialect(
    name="AI SDK",
    required_any=frozenset({"ai.operationId"}),
    operations={
        "ai.generateText.doGenerate": "chat",
        "ai.streamText.doStream": "chat",
        "ai.generateObject.doGenerate": "chat",
        "ai.streamObject.doStream": "chat",
        "ai.embed.doEmbed": "embeddings",
        "ai.embedMany.doEmbed": "embeddings",
        "ai.rerank.doRerank": "rerank",
    },
    streamed_operations=frozenset({"ai.streamText.doStream", "ai.streamObject.doStream"}),
    keys={
        **semconv.keys_with(
            request_model=("ai.model.id",),
            response_model=("ai.response.model",),
            provider=("ai.model.provider",),
            response_id=("ai.response.id",),
            output_tokens=("ai.usage.outputTokens", "ai.usage.completionTokens"),
            total_tokens=("ai.usage.totalTokens", *(f"{google}.totalTokenCount" for google in _GOOGLE)),
            reasoning_tokens=(
                "ai.usage.outputTokenDetails.reasoningTokens",
                "ai.usage.reasoningTokens",
                f"{_PROVIDER}.openai.reasoningTokens",
                *(f"{google}.thoughtsTokenCount" for google in _GOOGLE),
            ),
            time_to_first_token_ms=(
                As("ai.response.msToFirstChunk", milliseconds),
                As("ai.stream.msToFirstChunk", milliseconds),
            ),
            cache_write_1h_tokens=(f"{_ANTHROPIC}.usage.cache_creation.ephemeral_1h_input_tokens",),
            service_tier=(f"{_ANTHROPIC}.usage.service_tier", f"{_PROVIDER}.openai.serviceTier"),
            # A stream that breaks has no error but this.
            error=(As("ai.response.finishReason", map_words(error="_OTHER")),),
            session_on_span=("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.userId"),
        ),
        "operation": ("ai.operationId",),
        "input_tokens": (
            f"{_ANTHROPIC}.usage.input_tokens",
            *semconv.KEYS["input_tokens"],
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
            "ai.usage.tokens",
        ),
        "cache_read_tokens": (
            NotInTotal(f"{_ANTHROPIC}.usage.cache_read_input_tokens"),
            "ai.usage.inputTokenDetails.cacheReadTokens",
            NotInTotal("ai.usage.cachedInputTokens", CACHE_NOT_IN_INPUT),
            NotInTotal(f"{_ANTHROPIC}.cacheReadInputTokens"),
            NotInTotal(f"{_PROVIDER}.bedrock.usage.cacheReadInputTokens"),
            f"{_PROVIDER}.openai.cachedPromptTokens",
            NotInTotal(_READ, CACHE_NOT_IN_INPUT),
            *(f"{google}.cachedContentTokenCount" for google in _GOOGLE),
        ),
        "cache_write_tokens": (
            NotInTotal(f"{_ANTHROPIC}.usage.cache_creation_input_tokens"),
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            NotInTotal(f"{_ANTHROPIC}.cacheCreationInputTokens"),
            NotInTotal(f"{_PROVIDER}.bedrock.usage.cacheWriteInputTokens"),
            f"{_PROVIDER}.openai.usage.cacheWriteTokens",
            NotInTotal(_WRITTEN, CACHE_NOT_IN_INPUT),
        ),
    },
    json_texts=frozenset({_PROVIDER}),
    zero_is_unreported=True,
    total_is_computed=True,
    layer=Layer.FRAMEWORK,
    refine=_refine,
)
AI_SDK_7: Final = Dialect(
    name="AI SDK 7",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("gen_ai",),
    operations={**semconv.OPERATIONS, "rerank": "rerank"},
    keys=semconv.KEYS,
    layer=Layer.FRAMEWORK,
)
