"""OpenInference (Arize Phoenix), all its packages: openai, anthropic, langchain, google, agno, agents and more.

Its spans are INTERNAL; only the kinds LLM and EMBEDDING are calls, all others repeat what those used. The prompt count
includes the cache; older packages for Anthropic left it out, which the counts or the total prove where it shows. On
errors the openai package names the model only in the JSON of the invocation parameters: of that text nothing else is
read. There is no id of the answer, and no host.
"""

from __future__ import annotations

from typing import Final

from infraprism.processor.dialects.table import Dialect

_COUNT: Final = "llm.token_count"

OPENINFERENCE: Final = Dialect(
    name="OpenInference",
    markers=frozenset({"openinference.span.kind"}),
    operations={"LLM": "chat", "EMBEDDING": "embeddings"},
    operations_by_key={
        "llm.prompts.0.prompt.text": "completion",
        "llm.choices.0.completion.text": "completion",
        "output.images.0.image.url": "image",
    },
    keys={
        "operation": ("openinference.span.kind",),
        "request_model": ("llm.request.model_name",),
        "response_model": (
            "llm.response.model_name",
            "llm.model_name",
            "embedding.model_name",
            "llm.invocation_parameters.model",
            "embedding.invocation_parameters.model",
        ),
        # The provider is where the client was pointed at, the system whose client it is.
        # LangChain in Node says it only in the metadata of its run.
        "provider": ("llm.provider", "llm.system", "metadata.ls_provider"),
        "error": ("error.type",),
        "input_tokens": (f"{_COUNT}.prompt",),
        "output_tokens": (f"{_COUNT}.completion",),
        "total_tokens": (f"{_COUNT}.total",),
        "cache_read_tokens": (f"{_COUNT}.prompt_details.cache_read",),
        "cache_write_tokens": (f"{_COUNT}.prompt_details.cache_write",),
        "reasoning_tokens": (f"{_COUNT}.completion_details.reasoning",),
        "audio_input_tokens": (f"{_COUNT}.prompt_details.audio",),
        "audio_output_tokens": (f"{_COUNT}.completion_details.audio",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
        "session_on_span": ("session.id", "user.id"),
    },
    json_texts=frozenset({"llm.invocation_parameters", "embedding.invocation_parameters", "metadata"}),
    zero_is_unreported=True,
)
