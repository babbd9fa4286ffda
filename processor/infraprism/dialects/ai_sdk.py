"""Vercel's AI SDK for Node: its own `ai.*` names (4 to 6, and 7 with its legacy integration), and the conventions (7).

Only the inner spans, `doGenerate`, `doStream`, `doEmbed` and `doRerank`, are calls; the outer ones, agents and steps
repeat their sums. From 6 on the input includes the cache and its parts are named; before, the counts are the
provider's own, so that Anthropic's and Bedrock's input leaves the cache out, and the total is a sum of their own. Of
objects no version names the parts. So what Anthropic itself said, which the metadata of its answer has from 5 on, is
believed first: it is the same in all versions. What 5 does not name of Google's stands in its metadata too.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_BESIDE_INPUT, As, Dialect, Layer, NotInTotal
from infraprism.dialects.values import milliseconds, words

_PROVIDER: Final = "ai.response.providerMetadata"
_ANTHROPIC: Final = f"{_PROVIDER}.anthropic"
_GOOGLE: Final = tuple(f"{_PROVIDER}.{name}.usageMetadata" for name in ("google", "vertex"))
# What the metadata has in 4, where OpenLLMetry's SDK has taken it apart and away.
_READ: Final = "gen_ai.usage.cache_read.input_tokens"
_WRITTEN: Final = "gen_ai.usage.cache_creation.input_tokens"

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
    streams=frozenset({"ai.streamText.doStream", "ai.streamObject.doStream"}),
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
            # A stream that breaks off ends well, but for this.
            error=(As("ai.response.finishReason", words(error="_OTHER")),),
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
            NotInTotal("ai.usage.cachedInputTokens", CACHE_BESIDE_INPUT),
            NotInTotal(f"{_ANTHROPIC}.cacheReadInputTokens"),
            NotInTotal(f"{_PROVIDER}.bedrock.usage.cacheReadInputTokens"),
            f"{_PROVIDER}.openai.cachedPromptTokens",
            NotInTotal(_READ, CACHE_BESIDE_INPUT),
            *(f"{google}.cachedContentTokenCount" for google in _GOOGLE),
        ),
        "cache_write_tokens": (
            NotInTotal(f"{_ANTHROPIC}.usage.cache_creation_input_tokens"),
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            NotInTotal(f"{_ANTHROPIC}.cacheCreationInputTokens"),
            NotInTotal(f"{_PROVIDER}.bedrock.usage.cacheWriteInputTokens"),
            f"{_PROVIDER}.openai.usage.cacheWriteTokens",
            NotInTotal(_WRITTEN, CACHE_BESIDE_INPUT),
        ),
    },
    json_texts=frozenset({_PROVIDER}),
    total_is_its_own=True,
    total_of=frozenset({"aws_bedrock"}),
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
AI_SDK_7: Final = Dialect(
    name="AI SDK 7",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("gen_ai",),
    operations={**semconv.OPERATIONS, "rerank": "rerank"},
    keys=semconv.KEYS,
    layer=Layer.FRAMEWORK,
)
