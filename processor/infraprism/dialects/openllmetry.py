"""OpenLLMetry (Traceloop), all its packages, in Python and in Node, from the `llm.*` names of its beginnings on.

It follows the conventions, with more keys. Input includes the cache, but for Bedrock, and in Node for Anthropic, whose
own counts it takes. What its package for Node counts of images is an estimate, told by a key of its own. Known to be
wrong: streams of its anthropic package report the output of message_start and of message_delta added up, one or a
few tokens too many, and nothing on the span tells how many; LangChain streams of Anthropic report an input of 0, which
no call has; its packages for Google leave thoughts out of the output, and only the total has them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect

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
        "response": "chat",  # Netra's copies
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
"""The same, where the input is what this provider calls so."""
OPENLLMETRY_BEDROCK: Final = replace(
    OPENLLMETRY_EXCLUSIVE,
    name="OpenLLMetry for Bedrock",
    scopes=(f"{_PREFIX}bedrock", f"{_PREFIX}bedrock.", "@traceloop/instrumentation-bedrock"),
    operation_by_model=True,
    billed_by="aws_bedrock",
)
"""The same, where the provider was once the name of the model's maker."""
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
"""The same, where all counts are estimates."""
OPENLLMETRY_OPENAI: Final = replace(
    OPENLLMETRY,
    name="OpenLLMetry for OpenAI",
    scopes=(f"{_PREFIX}openai", f"{_PREFIX}openai."),
    exclusive_keys=frozenset(),
    needs=("request_model",),
)
"""The same, where answers that are only fetched have a span, without the model that was asked."""
_CHATS: Final = ("anthropic", "groq", "google_generativeai", "vertexai")
OPENLLMETRY_CHAT: Final = replace(
    OPENLLMETRY,
    name="OpenLLMetry for clients that only chat",
    scopes=(
        *(_PREFIX + package for package in _CHATS),
        *(f"lmnr.opentelemetry_lib.{_PREFIX}{package}" for package in _CHATS),  # Laminar's copies
        "@traceloop/instrumentation-vertexai",
    ),
    exclusive_keys=frozenset(),
    operations={**OPENLLMETRY.operations, "completion": "chat", "text_completion": "chat"},
)
"""The same, where `completion` is the name of all calls."""
