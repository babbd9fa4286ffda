"""OpenInference (Arize Phoenix), all packages: openai, anthropic, langchain, google, agno, agents and more.

The spans are INTERNAL. Only the kinds LLM and EMBEDDING are calls; all others repeat the usage of those. The prompt
count includes the cache. Older packages for Anthropic excluded it, which is known where the counts or the total prove
it. On errors the openai package writes the model only in the JSON of the invocation parameters, of which nothing else
is read. Its spans of all requests have the kind LLM: lists of models, files and batches, which have no model, are not
calls, and neither is moderation. There is no response id and no host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import CACHE_NOT_IN_INPUT, Dialect, NotInTotal, RawSpan, SpanFields, with_fields
from infraprism.providers.model_names import operation_of

_COUNT: Final = "llm.token_count"
_PARAMETERS: Final = "llm.invocation_parameters"
_OPERATION_KEYS: Final = {
    "llm.prompts.0.prompt.text": "completion",
    "llm.choices.0.completion.text": "completion",
    "output.images.0.image.url": "image",
}


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:
    """Text completions and images have the kind LLM as chats do; only the keys of their content differ."""
    operation = None
    for key, content in _OPERATION_KEYS.items():
        if key in span.attributes:
            operation = content
    if operation is None:
        return fields
    return with_fields(fields, operation=operation_of(fields.response_model or fields.request_model, operation))


def _refine_openai(span: RawSpan, fields: SpanFields) -> SpanFields | None:
    """A response that is only fetched or cancelled has a span with the response's model, but with no parameters.

    See the fixtures in openinference.json.
    """
    return None if span.attributes.get(_PARAMETERS) == "{}" else _refine(span, fields)


OPENINFERENCE: Final = Dialect(
    name="OpenInference",
    required_any=frozenset({"openinference.span.kind"}),
    operations={"LLM": "chat", "EMBEDDING": "embeddings"},
    keys={
        "operation": ("openinference.span.kind",),
        # Applications also write OpenInference's kind on spans with the conventions' keys.
        "request_model": ("llm.request.model_name", *semconv.KEYS["request_model"]),
        "response_model": (
            "llm.response.model_name",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
            f"{_PARAMETERS}.model",
            "embedding.invocation_parameters.model",
            *semconv.KEYS["response_model"],
        ),
        # `llm.provider` is the provider that was called, `llm.system` that of the client package.
        # LangChain in Node has it only in the metadata of its run.
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
        # From a span event, which the collector writes to these keys.
        "streamed": ("gen_ai.request.stream",),
        "time_to_first_token_ms": ("gen_ai.response.time_to_first_chunk",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("session.id", "user.id"),
    },
    json_texts=frozenset({_PARAMETERS, "embedding.invocation_parameters", "metadata"}),
    operation_by_model=True,
    excluded_span_names=(
        *("CountTokens", "messages.count_tokens"),  # The first is that of Envoy's AI gateway.
        *("FineTuningJob", "Assistant", "Run", "SyncCursorPage[FineTuningJob]"),
    ),
    first_chunk_events=frozenset({"First Token Stream Event"}),
    zero_is_unreported=True,
    refine=_refine,
    refine_keys=dict.fromkeys(_OPERATION_KEYS, ()),
)
OPENINFERENCE_OPENAI: Final = replace(
    OPENINFERENCE,
    name="OpenInference for OpenAI",
    scopes=("openinference.instrumentation.openai",),
    needs=("request_model", "response_model"),
    refine=_refine_openai,
    refine_keys={**OPENINFERENCE.refine_keys, _PARAMETERS: ("{}",)},
)
"""Every request of OpenAI's client is a span, including those that only fetch or cancel a response."""
OPENINFERENCE_RERANK: Final = replace(
    OPENINFERENCE,
    name="OpenInference for clients that rerank",
    scopes=("openinference.instrumentation.cohere",),
    operations={**OPENINFERENCE.operations, "RERANKER": "rerank"},
)
"""A reranker of these clients is a call. In a framework it is a step, and possibly a local model."""
OPENINFERENCE_LLAMA_INDEX: Final = replace(
    OPENINFERENCE,
    name="OpenInference for LlamaIndex",
    scopes=("openinference.instrumentation.llama_index",),
    excluded_span_names=(*OPENINFERENCE.excluded_span_names, "*._prepare_chat_with_tools"),
)
"""The preparation of a call by an agent has the kind of a call."""
OPENINFERENCE_AGNO: Final = replace(
    OPENINFERENCE,
    name="OpenInference for Agno",
    scopes=("openinference.instrumentation.agno",),
    keys={
        **OPENINFERENCE.keys,
        "cache_read_tokens": (NotInTotal(f"{_COUNT}.prompt_details.cache_read", CACHE_NOT_IN_INPUT),),
        "cache_write_tokens": (NotInTotal(f"{_COUNT}.prompt_details.cache_write", CACHE_NOT_IN_INPUT),),
    },
)
"""The counts are Agno's, which are each provider's own."""
OPENINFERENCE_EXCLUSIVE: Final = replace(
    OPENINFERENCE,
    name="OpenInference for Bedrock in Node",
    scopes=("@arizeai/openinference-instrumentation-bedrock",),
    input_excludes_cache=True,
)
"""The prompt count is Bedrock's input, which excludes the cache."""
