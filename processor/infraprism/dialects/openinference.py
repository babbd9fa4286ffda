"""OpenInference (Arize Phoenix), all its packages: openai, anthropic, langchain, google, agno, agents and more.

Its spans are INTERNAL; only the kinds LLM and EMBEDDING are calls, all others repeat what those used. The prompt count
includes the cache; older packages for Anthropic left it out, which the counts or the total prove where it shows. On
errors the openai package names the model only in the JSON of the invocation parameters: of that text nothing else is
read. It says LLM of whatever its client asks for: lists of models, files and batches, which name no model, are no
calls, and neither is moderation. There is no id of the answer, and no host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_BESIDE_INPUT, Dialect, NotInTotal

_COUNT: Final = "llm.token_count"

OPENINFERENCE: Final = Dialect(
    name="OpenInference",
    required_any=frozenset({"openinference.span.kind"}),
    operations={"LLM": "chat", "EMBEDDING": "embeddings"},
    operations_by_key={
        "llm.prompts.0.prompt.text": "completion",
        "llm.choices.0.completion.text": "completion",
        "output.images.0.image.url": "image",
    },
    keys={
        "operation": ("openinference.span.kind",),
        # Where an application writes its kind beside the conventions' names, these are read behind its own.
        "request_model": ("llm.request.model_name", *semconv.KEYS["request_model"]),
        "response_model": (
            "llm.response.model_name",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
            "llm.invocation_parameters.model",
            "embedding.invocation_parameters.model",
            *semconv.KEYS["response_model"],
        ),
        # The provider is where the client was pointed at, the system whose client it is.
        # LangChain in Node says it only in the metadata of its run.
        "provider": ("llm.provider", "llm.system", "metadata.ls_provider", *semconv.KEYS["provider"]),
        "error": ("error.type",),
        "input_tokens": (f"{_COUNT}.prompt", *semconv.KEYS["input_tokens"]),
        "output_tokens": (f"{_COUNT}.completion", *semconv.KEYS["output_tokens"]),
        "total_tokens": (f"{_COUNT}.total", *semconv.KEYS["total_tokens"]),
        "cache_read_tokens": (f"{_COUNT}.prompt_details.cache_read", *semconv.KEYS["cache_read_tokens"]),
        "cache_write_tokens": (f"{_COUNT}.prompt_details.cache_write", *semconv.KEYS["cache_write_tokens"]),
        "reasoning_tokens": (f"{_COUNT}.completion_details.reasoning", *semconv.REASONING_TOKENS),
        "audio_input_tokens": (f"{_COUNT}.prompt_details.audio",),
        "audio_output_tokens": (f"{_COUNT}.completion_details.audio",),
        # SpanFields by a span event, which the collector writes down under the conventions' names.
        "streamed": ("gen_ai.request.stream",),
        "time_to_first_token_ms": ("gen_ai.response.time_to_first_chunk",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("session.id", "user.id"),
    },
    json_texts=frozenset({"llm.invocation_parameters", "embedding.invocation_parameters", "metadata"}),
    operation_by_model=True,
    excluded_span_names=frozenset(
        # Envoy's AI gateway has its own name for counting tokens.
        {"CountTokens", "messages.count_tokens", "FineTuningJob", "Assistant", "Run", "SyncCursorPage[FineTuningJob]"}
    ),
    first_chunk_events=frozenset({"First Token Stream Event"}),
    zero_is_unreported=True,
)
OPENINFERENCE_OPENAI: Final = replace(
    OPENINFERENCE,
    name="OpenInference for OpenAI",
    scopes=("openinference.instrumentation.openai",),
    needs=("request_model", "response_model"),
    excluded_texts={"llm.invocation_parameters": "{}"},
)
"""The same, where any request of the client is a span, that too which only fetches or cancels an answer."""
OPENINFERENCE_RERANK: Final = replace(
    OPENINFERENCE,
    name="OpenInference for clients that rerank",
    scopes=("openinference.instrumentation.cohere",),
    operations={**OPENINFERENCE.operations, "RERANKER": "rerank"},
)
"""The same, where a reranker is a call and not a step of a framework, which may well be a model of its own."""
OPENINFERENCE_LLAMA_INDEX: Final = replace(
    OPENINFERENCE,
    name="OpenInference for LlamaIndex",
    scopes=("openinference.instrumentation.llama_index",),
    excluded_span_name_suffixes=("._prepare_chat_with_tools",),
)
"""The same, where what an agent prepares for a call has the kind of one."""
OPENINFERENCE_AGNO: Final = replace(
    OPENINFERENCE,
    name="OpenInference for Agno",
    scopes=("openinference.instrumentation.agno",),
    keys={
        **OPENINFERENCE.keys,
        "cache_read_tokens": (NotInTotal(f"{_COUNT}.prompt_details.cache_read", CACHE_BESIDE_INPUT),),
        "cache_write_tokens": (NotInTotal(f"{_COUNT}.prompt_details.cache_write", CACHE_BESIDE_INPUT),),
    },
)
"""The same, where the counts are those that Agno keeps, which are each provider's own."""
OPENINFERENCE_EXCLUSIVE: Final = replace(
    OPENINFERENCE,
    name="OpenInference for Bedrock in Node",
    scopes=("@arizeai/openinference-instrumentation-bedrock",),
    input_excludes_cache=True,
)
"""The same, where the prompt is what Bedrock calls the input."""
