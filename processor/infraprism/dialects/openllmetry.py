"""OpenLLMetry (Traceloop), all packages in Python and in Node, from the first `llm.*` keys on.

OpenLLMetry follows the conventions, with more keys. The input includes the cache, except for Bedrock, and for
Anthropic in Node, where the counts are the provider's own. The package for Node estimates the tokens of images and
marks them with a key of their own. Known errors: streams of the anthropic package report the sum of the output of
message_start and message_delta, one or a few tokens too many. LangChain's streams of Anthropic report an input of 0.
The packages for Google exclude thoughts from the output; only the total includes them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, RawSpan, SpanFields, with_fields

_PACKAGES: Final = (
    *("alephalpha", "anthropic", "bedrock", "cohere", "crewai", "google_generativeai", "groq", "haystack", "langchain"),
    *("llamaindex", "mistralai", "ollama", "openai", "openai_agents", "replicate", "sagemaker", "together"),
    *("transformers", "vertexai", "voyageai", "watsonx", "writer", "agno"),
)
_PREFIX: Final = "opentelemetry.instrumentation."

OPENLLMETRY: Final = Dialect(
    name="OpenLLMetry",
    required_any=frozenset({"gen_ai.operation.name", "llm.request.type"}),
    scopes=(
        *(_PREFIX + package for package in _PACKAGES),
        *(f"{_PREFIX}{package}." for package in _PACKAGES),
        "@traceloop/instrumentation-",
        "opentelemetry-instrumentation-",
    ),
    exclusive_keys=frozenset({"llm.request.type"}),
    operations={
        **semconv.OPERATIONS,
        "completion": "completion",
        "embedding": "embeddings",
        "response": "chat",  # copies in Netra
        "rerank": "rerank",
    },
    keys=semconv.keys_with(
        operation=("llm.request.type",),
        request_model=("llm.request.model",),
        response_model=("llm.response.model",),
        provider=("llm.vendor",),
        host=("gen_ai.openai.api_base", "openai.api_base"),
        streamed=("gen_ai.is_streaming", "llm.is_streaming"),
        input_tokens=("llm.usage.prompt_tokens",),
        output_tokens=("llm.usage.completion_tokens",),
        total_tokens=("llm.usage.total_tokens",),
        cache_read_tokens=("llm.usage.cache_read_input_tokens",),
        cache_write_tokens=("llm.usage.cache_creation_input_tokens",),
        reasoning_tokens=("llm.usage.reasoning_tokens",),
        session_on_span=(
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
            "traceloop.association.properties.user_id",
            "gen_ai.user",
        ),
    ),
    zero_is_unreported=True,
    rank=1,
)
OPENLLMETRY_EXCLUSIVE: Final = replace(
    OPENLLMETRY,
    name="OpenLLMetry for Anthropic in Node",
    scopes=("@traceloop/instrumentation-anthropic",),
    exclusive_keys=frozenset(),
    input_excludes_cache=True,
)
"""The input is Anthropic's own, which excludes the cache."""


def _refine_bedrock(span: RawSpan, fields: SpanFields) -> SpanFields:  # noqa: ARG001 - a refine function
    """Former versions wrote the model's maker as the provider."""
    return with_fields(fields, provider="aws_bedrock")


OPENLLMETRY_BEDROCK: Final = replace(
    OPENLLMETRY_EXCLUSIVE,
    name="OpenLLMetry for Bedrock",
    scopes=(f"{_PREFIX}bedrock", f"{_PREFIX}bedrock.", "@traceloop/instrumentation-bedrock"),
    operation_by_model=True,
    refine=_refine_bedrock,
)
"""The input is Bedrock's own, which excludes the cache."""
OPENLLMETRY_IMAGES: Final = Dialect(
    name="OpenLLMetry for images",
    required_any=frozenset({"gen_ai.request.type"}),
    scopes=("@traceloop/instrumentation-openai",),
    operations={"image_generation": "image", "image_edit": "image", "image_variation": "image"},
    keys={
        **{name: entries for name, entries in semconv.KEYS.items() if not name.endswith("_tokens")},
        "operation": ("gen_ai.request.type",),
    },
    rank=1,
)
"""The counts of images are estimates, and no table reads them."""
OPENLLMETRY_OPENAI: Final = replace(
    OPENLLMETRY,
    name="OpenLLMetry for OpenAI",
    scopes=(f"{_PREFIX}openai", f"{_PREFIX}openai."),
    exclusive_keys=frozenset(),
    needs=("request_model",),
)
"""A response that is only fetched has a span too, without a request model."""
_CHATS: Final = ("anthropic", "groq", "google_generativeai", "vertexai")
OPENLLMETRY_CHAT: Final = replace(
    OPENLLMETRY,
    name="OpenLLMetry for clients that only chat",
    scopes=(
        *(_PREFIX + package for package in _CHATS),
        *(f"lmnr.opentelemetry_lib.{_PREFIX}{package}" for package in _CHATS),  # copies in Laminar
        "@traceloop/instrumentation-vertexai",
    ),
    exclusive_keys=frozenset(),
    operations={**OPENLLMETRY.operations, "completion": "chat", "text_completion": "chat"},
)
"""`completion` is the operation of all calls of these clients."""
