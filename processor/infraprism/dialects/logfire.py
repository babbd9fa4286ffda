"""Logfire's own instrumentations of the openai and anthropic packages, in both of its attribute versions and before.

What a span is about is said by its message template, a constant of the instrumentation: spans of other endpoints, such
as counting tokens, have the template of an unnamed call. Input includes the cache; the parts stand only in the
provider's usage object, a JSON text. A stream is two spans: one of the request, which ends when the answer begins, and
one of no duration when the stream is over, which has the counts and says how long it took. Its spans of OpenAI Agents
name no operation for chats, and have the parts of the counts in the usage that Agents keeps, a JSON text as well; turns
and tasks repeat it.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import As, Dialect, Layer
from infraprism.dialects.values import words

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
            is_stream_end=(As("logfire.span_type", words(log=True)),),
            duration_ms=("duration",),
        ),
        "operation": ("logfire.msg_template", "gen_ai.operation.name"),
    },
    json_texts=frozenset({_RAW}),
    zero_is_unreported=True,
)
_KEPT: Final = "usage"

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
            cache_read_tokens=(f"{_KEPT}.input_tokens_details.cached_tokens",),
            cache_write_tokens=(f"{_KEPT}.input_tokens_details.cache_write_tokens",),
            reasoning_tokens=(f"{_KEPT}.output_tokens_details.reasoning_tokens",),
        ),
        "operation": ("logfire.msg_template",),
    },
    json_texts=frozenset({_KEPT}),
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
