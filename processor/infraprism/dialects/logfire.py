"""Logfire's own instrumentations of the openai and anthropic packages, and of OpenAI Agents.

The message template, a constant of the instrumentation, determines the operation. Spans of other endpoints, such as
counting tokens, have the template of a call without a name. The input includes the cache. The parts are only in the
provider's usage object, a JSON text. A stream is two spans: one of the request, which ends at the first response
header, and one without a duration at the end of the stream, which has the counts and the stream's duration. The spans
of OpenAI Agents have no operation for chats, and the parts in the usage of Agents, also a JSON text. Turns and tasks
repeat it.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import As, Dialect, Layer
from infraprism.dialects.values import map_words

_RAW: Final = "gen_ai.usage.raw"

LOGFIRE: Final = Dialect(
    name="Logfire",
    required_any=frozenset({"gen_ai.operation.name", "request_data"}),
    scopes=("logfire.openai", "logfire.anthropic"),
    operations={
        **semconv.OPERATIONS,
        "image_generation": "image",
        "Chat Completion with {request_data[model]!r}": "chat",
        "Message with {request_data[model]!r}": "chat",
        "Responses API with {gen_ai.request.model!r}": "chat",
        "Responses API": "chat",
        "Completion with {request_data[model]!r}": "completion",
        "Embedding Creation with {request_data[model]!r}": "embeddings",
        "Image Generation with {request_data[model]!r}": "image",
        "streaming response from {request_data[model]!r} took {duration:.2f}s": "chat",
    },
    keys={
        **semconv.keys_with(
            cache_read_tokens=(
                f"{_RAW}.prompt_tokens_details.cached_tokens",
                f"{_RAW}.input_tokens_details.cached_tokens",
                f"{_RAW}.cache_read_input_tokens",
                f"{_RAW}.cached_tokens",  # Moonshot
                f"{_RAW}.prompt_cache_hit_tokens",  # DeepSeek
            ),
            cache_write_tokens=(f"{_RAW}.cache_creation_input_tokens",),
            cache_write_1h_tokens=(f"{_RAW}.cache_creation.ephemeral_1h_input_tokens",),
            reasoning_tokens=(
                f"{_RAW}.completion_tokens_details.reasoning_tokens",
                f"{_RAW}.output_tokens_details.reasoning_tokens",
                f"{_RAW}.output_tokens_details.thinking_tokens",
            ),
            audio_input_tokens=(f"{_RAW}.prompt_tokens_details.audio_tokens",),
            audio_output_tokens=(f"{_RAW}.completion_tokens_details.audio_tokens",),
            total_tokens=(f"{_RAW}.total_tokens",),
            service_tier=(f"{_RAW}.service_tier",),
            web_searches=(f"{_RAW}.server_tool_use.web_search_requests",),
            region=(f"{_RAW}.inference_geo",),
            speed=(f"{_RAW}.speed",),
            has_unpriced_usage=(
                f"{_RAW}.server_tool_use.code_execution_requests",
                # A second request of the provider: it may be beside the counts, and of another model.
                f"{_RAW}.iterations.1.output_tokens",
            ),
            is_stream_end=(As("logfire.span_type", map_words(log=True)),),
            duration_ms=("duration",),
        ),
        "operation": ("logfire.msg_template", "gen_ai.operation.name"),
    },
    json_texts=frozenset({_RAW}),
    usage_texts=frozenset({_RAW}),
    zero_is_unreported=True,
)
_USAGE: Final = "usage"

LOGFIRE_AGENTS: Final = Dialect(
    name="Logfire for OpenAI Agents",
    required_any=frozenset({"logfire.msg_template"}),
    scopes=("logfire.openai_agents",),
    operations={
        "Chat completion with {gen_ai.request.model!r}": "chat",
        "Responses API with {gen_ai.request.model!r}": "chat",
        "Responses API": "chat",
        "Speech → Text with {gen_ai.request.model!r}": "audio",
        "Text → Speech": "audio",
    },
    keys={
        **semconv.keys_with(
            cache_read_tokens=(f"{_USAGE}.input_tokens_details.cached_tokens",),
            cache_write_tokens=(f"{_USAGE}.input_tokens_details.cache_write_tokens",),
            reasoning_tokens=(f"{_USAGE}.output_tokens_details.reasoning_tokens",),
        ),
        "operation": ("logfire.msg_template",),
    },
    json_texts=frozenset({_USAGE}),
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
