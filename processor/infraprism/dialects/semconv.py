"""OpenTelemetry's GenAI semantic conventions, today's names and all former ones.

Sources: the registry of semantic-conventions-genai, and the core repository's schema files up to 1.41. Also what the
anthropic package writes itself (scope com.anthropic.sdk.python), which keeps to the conventions and adds
`anthropic.*`, and the few keys of our own instrumentation for which there is no convention. Input includes cache
reads and writes, output includes reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from infraprism.dialects.table import Dialect, Entry
from infraprism.schema import fields

REASONING_TOKENS: Final = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    "gen_ai.usage.thoughts_tokens",  # Ax
)
OPERATIONS: Final = {
    "chat": "chat",
    "generate_content": "chat",
    "text_completion": "completion",
    "embeddings": "embeddings",
}
"""Agents, workflows, tools, retrieval, memory and fetch_response repeat what their calls used, or use nothing."""

KEYS: Final[Mapping[str, tuple[Entry, ...]]] = {
    "operation": ("gen_ai.operation.name",),
    "request_model": ("gen_ai.request.model",),
    "response_model": ("gen_ai.response.model",),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "host": ("server.address",),
    "error": ("error.type",),
    "http_status": ("http.response.status_code", "http.status_code"),
    "streamed": ("gen_ai.request.stream",),
    "time_to_first_token_ms": (
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
    ),
    "service_tier": (
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.response.service_tier",
    ),
    "reported_cost_usd": ("infraprism.reported_cost_usd",),
    "response_id": ("gen_ai.response.id",),
    "session_on_span": ("gen_ai.conversation.id", "session.id"),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "total_tokens": ("gen_ai.usage.total_tokens",),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "reasoning_tokens": REASONING_TOKENS,
    "audio_input_tokens": ("gen_ai.usage.audio.input_tokens",),
    "audio_output_tokens": ("gen_ai.usage.audio.output_tokens",),
    "web_searches": ("infraprism.usage.web_searches",),
    "entity_type": (fields.ENTITY_TYPE.key,),
    "entity_id": (fields.ENTITY_ID.key,),
    "session_id": (fields.SESSION_ID.key,),
}
"""What dialects that follow the conventions have in common."""


USAGE_EVENT: Final = "gen_ai.usage"
"""The name of a span event that has the counts of its call; Ax writes it."""
USAGE_EVENT_KEYS: Final = (
    tuple(
        key
        for field in ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens")
        for key in KEYS[field]
        if isinstance(key, str)
    )
    + REASONING_TOKENS
)
"""What is read of it, as if the span had it."""


def keys_with(**own: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    """The conventions' keys and a dialect's own behind them, as other sources of the same fields."""
    return {name: (*KEYS.get(name, ()), *own.get(name, ())) for name in (*KEYS, *(own.keys() - KEYS.keys()))}


_MORE: Final = {
    # Spring AI; Semantic Kernel; Rig, in Rust; TanStack AI; Gemini CLI; wrappers in many languages.
    "embedding": "embeddings",
    "completion": "completion",
    "chat.completions": "chat",
    "text.completions": "completion",
    "chat_streaming": "chat",
    "llm_call": "chat",
    "call_llm": "chat",  # Google ADK's relatives in other languages
    "responses": "chat",
    "image": "image",
    "image_generation": "image",
    "audio_generation": "audio",
    "speech": "audio",
    "text_to_speech": "audio",
    "transcription": "audio",
    "video_generation": "other",
    # Names of functions of clients, and of kinds, which wrappers take for the operation.
    **dict.fromkeys(("LLM", "llm", "generate", "generation", "generate_text", "text_generation"), "chat"),
    **dict.fromkeys(("chat_completion", "chat_completions", "chat.completion", "chat.completions.create"), "chat"),
    **dict.fromkeys(("messages", "messages.create", "responses.create", "chat_stream"), "chat"),
    **dict.fromkeys(("completions", "completions.create"), "completion"),
    **dict.fromkeys(("EMBEDDING", "embed", "embeddings.create", "create_embedding"), "embeddings"),
    "rerank": "rerank",
}
"""Names of calls before there were conventions for them, or beside them."""


def _in_other_styles(name: str) -> tuple[str, ...]:
    """A name of the conventions as others spell it; Microsoft's Agent 365, in all its languages, as a class's name."""
    first, *others = name.split("_")
    camel = first + "".join(map(str.capitalize, others))
    return name.upper(), camel, camel[0].upper() + camel[1:], "-".join((first, *others))


_STYLED: Final = {
    style: meant
    for name, meant in (*OPERATIONS.items(), ("embedding", "embeddings"), ("completion", "completion"))
    for style in _in_other_styles(name)
}

PARTS: Final = {
    "cache_read_tokens": (
        "cache_read_input_tokens",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cached_tokens",
        "cached_input_tokens",
        "cache_read_tokens",
        "cacheReadInputTokens",
        "cachedInputTokens",
        "cachedTokens",
    ),
    "cache_write_tokens": (
        "cache_creation_input_tokens",
        "cache_write_input_tokens",
        "cache_write_tokens",
        "cache_creation_tokens",
        "cacheCreationInputTokens",
        "cacheWriteInputTokens",
    ),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_tokens_details.thinking_tokens",
        "reasoning_tokens",
        "reasoningTokens",
    ),
}
"""Words for parts, of providers and wrappers, which stand behind a beginning: there are more of them than of wholes."""


_PARTS_OF_WHOLES: Final = {
    "cache_read_tokens": ("input_tokens.cached", "input_tokens.cache_read"),
    "cache_write_tokens": ("input_tokens.cache_write",),
    "reasoning_tokens": ("output_tokens.reasoning",),
    "audio_input_tokens": ("input_tokens.audio",),
    "audio_output_tokens": ("output_tokens.audio",),
}
"""The same of Sentry and Future AGI, as attributes alone: no JSON has anything within a number."""


def _parts(field: str) -> tuple[str, ...]:
    """The keys of a part beside wholes that have the conventions' names."""
    spelled = (f"gen_ai.usage.{word}" for word in (*_PARTS_OF_WHOLES[field], *PARTS.get(field, ())))
    return tuple(key for key in spelled if key not in KEYS[field])


_KINDS: Final = ("gen_ai.request.type", "gen_ai.span.kind")
"""Where the operation stands with AgentOps; with FutureAGI and Alibaba's agents."""
_STEPS: Final = ("lmnr.span.type", "traceloop.span.kind", "agentops.span.kind")
"""Where it stands that a span is a step around calls, whatever it counts."""

SEMCONV: Final = Dialect(
    name="semconv",
    # Before 1.27 there was no operation, and the counts had other names; some leave it out to this day.
    required_any=frozenset(
        {
            *("gen_ai.operation.name", *_KINDS),
            *("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
            # Not the input: counting tokens has that as well.
            "gen_ai.usage.output_tokens",
        }
    ),
    unnamed_operation="other",
    unnamed_needs=("request_model", "response_model"),
    operations={**_STYLED, **OPERATIONS, **_MORE},
    streams=frozenset({"chat_streaming", "chat_stream"}),
    keys=keys_with(
        operation=(*_KINDS, *_STEPS),
        session_on_span=("user.id",),
        # Of compatible servers Ax has OpenAI's name.
        host=("url.full",),
        # Before its names were those of the conventions: Microsoft.Extensions.AI, Semantic Kernel.
        input_tokens=("gen_ai.response.input_tokens", "gen_ai.response.prompt_tokens"),
        output_tokens=("gen_ai.response.output_tokens", "gen_ai.response.completion_tokens"),
        **{field: _parts(field) for field in _PARTS_OF_WHOLES},
        streamed=("gen_ai.response.streaming", "gen_ai.request.streaming", "gen_ai.request.llm_is_streaming"),
        # vLLM, SGLang and AgentOps, in seconds as well.
        time_to_first_token_ms=(
            "gen_ai.server.time_to_first_token",
            "gen_ai.latency.time_to_first_token",
            "gen_ai.streaming.time_to_first_token",
        ),
    ),
)
SEMCONV_ZEROS: Final = replace(
    SEMCONV, name="semconv of Coralogix", scopes=("llm_tracekit.",), unnamed_operation=None, zero_is_unreported=True
)
"""The same, where counts that were not reported are 0."""
SEMCONV_TANSTACK: Final = replace(
    SEMCONV,
    name="semconv of TanStack AI",
    required_any=frozenset({"gen_ai.operation.name", "tanstack.ai.iterations"}),
    exclusive_keys=frozenset({"tanstack.ai.iterations"}),
    unnamed_operation=None,
)
"""The same, where a span without an operation is the sum of several requests."""
SEMCONV_GOOGLE: Final = replace(
    SEMCONV,
    name="semconv of Google GenAI before 1.0",
    required_any=frozenset({"code.function.name"}),
    scopes=("opentelemetry.instrumentation.google_genai",),
    unnamed_operation=None,
    zero_is_unreported=True,
    rank=1,
)
"""The same, where counts that were not reported are 0, and the output leaves thoughts out, of which it says nothing."""
