"""OpenTelemetry's GenAI semantic conventions, today's names and all former ones.

Sources: the registry of semantic-conventions-genai, and the core repository's schema files up to 1.41. The table also
has the keys that the anthropic package adds in its own spans (`anthropic.*`, scope com.anthropic.sdk.python), and the
few keys of InfraPrism's instrumentation without a convention. The input includes cache reads and writes, the output
includes reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from infraprism.dialects import values
from infraprism.dialects.table import As, Dialect, Entry
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
"""Agents, workflows, tools, retrieval, memory and fetch_response repeat the usage of their calls, or have none."""

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
    # The draft of semantic-conventions-genai#443: the source is `provider` or `local`. Others write the plain key.
    "stated_cost": ("gen_ai.usage.cost", "gen_ai.usage.cost.amount"),
    "cost_is_of_provider": (
        As("gen_ai.usage.cost.source", values.map_words(provider=True)),
        As("gen_ai.usage.cost_source", values.map_words(provider=True)),
    ),
    "cost_is_in_usd": (
        As("gen_ai.usage.cost.currency", values.map_words(USD=True, EUR=False, GBP=False, JPY=False, CNY=False)),
    ),
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
    "region": ("infraprism.usage.inference_geo",),
    "speed": ("infraprism.usage.speed",),
    "usage_parts": ("infraprism.usage.parts",),
    "has_unpriced_usage": (values.UNPRICED,),
    "entity_type": (fields.ENTITY_TYPE.key,),
    "entity_id": (fields.ENTITY_ID.key,),
    "session_id": (fields.SESSION_ID.key,),
}
"""The keys of each field that all dialects following the conventions have in common."""


USAGE_EVENT: Final = "gen_ai.usage"
"""The name of a span event with the counts of the call, which Ax writes."""
USAGE_EVENT_KEYS: Final = (
    tuple(
        key
        for field in ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens")
        for key in KEYS[field]
        if isinstance(key, str)
    )
    + REASONING_TOKENS
)
"""The attributes of that event that are read like attributes of the span."""


def keys_with(**own: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    """The conventions' keys of each field, followed by a dialect's own."""
    return {name: (*KEYS.get(name, ()), *own.get(name, ())) for name in (*KEYS, *(own.keys() - KEYS.keys()))}


_OTHER_OPERATIONS: Final = {
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
    # Names of client functions and of kinds that wrappers write as the operation.
    **dict.fromkeys(("LLM", "llm", "generate", "generation", "generate_text", "text_generation"), "chat"),
    **dict.fromkeys(("chat_completion", "chat_completions", "chat.completion", "chat.completions.create"), "chat"),
    **dict.fromkeys(("messages", "messages.create", "responses.create", "chat_stream"), "chat"),
    **dict.fromkeys(("completions", "completions.create"), "completion"),
    **dict.fromkeys(("EMBEDDING", "embed", "embeddings.create", "create_embedding"), "embeddings"),
    "rerank": "rerank",
}
"""Operations from before the conventions, or outside them."""


def _in_other_styles(name: str) -> tuple[str, ...]:
    """An operation of the conventions in other styles; Microsoft's Agent 365 writes it in the style of a class."""
    first, *others = name.split("_")
    camel = first + "".join(map(str.capitalize, others))
    return name.upper(), camel, camel[0].upper() + camel[1:], "-".join((first, *others))


_OTHER_STYLES: Final = {
    style: meant
    for name, meant in (*OPERATIONS.items(), ("embedding", "embeddings"), ("completion", "completion"))
    for style in _in_other_styles(name)
}

_PARTS: Final = {
    "cache_read_tokens": (
        "cache_read_input_tokens",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cached_tokens",
        "cached_input_tokens",
        "cache_read_tokens",
    ),
    "cache_write_tokens": (
        "cache_creation_input_tokens",
        "cache_write_input_tokens",
        "cache_write_tokens",
        "cache_creation_tokens",
    ),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_tokens_details.thinking_tokens",
        "reasoning_tokens",
    ),
}
"""Names of parts that providers and wrappers use, under the prefix `gen_ai.usage`."""
_NESTED_PARTS: Final = {
    "cache_read_tokens": ("input_tokens.cached", "input_tokens.cache_read"),
    "cache_write_tokens": ("input_tokens.cache_write",),
    "reasoning_tokens": ("output_tokens.reasoning",),
    "audio_input_tokens": ("input_tokens.audio",),
    "audio_output_tokens": ("output_tokens.audio",),
}
"""Names of parts that Sentry and Future AGI use."""


def _parts(field: str) -> tuple[str, ...]:
    """The keys of a part outside the conventions."""
    spelled = (f"gen_ai.usage.{word}" for word in (*_NESTED_PARTS[field], *_PARTS.get(field, ())))
    return tuple(key for key in spelled if key not in KEYS[field])


_KINDS: Final = ("gen_ai.request.type", "gen_ai.span.kind")
"""Keys of the operation: of AgentOps, and of FutureAGI and Alibaba's agents."""
_STEPS: Final = ("lmnr.span.type", "traceloop.span.kind", "agentops.span.kind")
"""Keys of the kind of a span, with which steps that enclose calls are excluded."""

SEMCONV: Final = Dialect(
    name="semconv",
    # Before 1.27 there was no operation, and the counts had other names. Some instrumentations still write none.
    required_any=frozenset(
        {
            *("gen_ai.operation.name", *_KINDS),
            *("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
            # Not the input, which spans that count tokens have too.
            "gen_ai.usage.output_tokens",
        }
    ),
    unnamed_operation="other",
    operations={**_OTHER_STYLES, **OPERATIONS, **_OTHER_OPERATIONS},
    streamed_operations=frozenset({"chat_streaming", "chat_stream"}),
    keys=keys_with(
        operation=(*_KINDS, *_STEPS),
        session_on_span=("user.id",),
        # Ax writes the provider `openai` for compatible servers.
        host=("url.full",),
        # Former keys of Microsoft.Extensions.AI and Semantic Kernel.
        input_tokens=("gen_ai.response.input_tokens", "gen_ai.response.prompt_tokens"),
        output_tokens=("gen_ai.response.output_tokens", "gen_ai.response.completion_tokens"),
        **{field: _parts(field) for field in _NESTED_PARTS},
        streamed=("gen_ai.response.streaming", "gen_ai.request.streaming", "gen_ai.request.llm_is_streaming"),
        # vLLM, SGLang and AgentOps, also in seconds.
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
"""Coralogix writes counts that were not reported as 0."""
SEMCONV_TANSTACK: Final = replace(
    SEMCONV,
    name="semconv of TanStack AI",
    required_any=frozenset({"gen_ai.operation.name", "tanstack.ai.iterations"}),
    exclusive_keys=frozenset({"tanstack.ai.iterations"}),
    unnamed_operation=None,
)
"""TanStack AI writes the sum of several requests on a span without an operation."""
SEMCONV_GOOGLE: Final = replace(
    SEMCONV,
    name="semconv of Google GenAI before 1.0",
    required_any=frozenset({"code.function.name"}),
    scopes=("opentelemetry.instrumentation.google_genai",),
    unnamed_operation=None,
    zero_is_unreported=True,
    rank=1,
)
"""Counts that were not reported are 0. The output excludes thoughts, for which there is no key."""
