"""LangSmith's own export to OpenTelemetry, in Python and in Node.

Its names of operations call prompts a chat and retrievers embeddings: the kind of the run says what is a call. Usage is
LangChain's: the input includes the cache, the parts stand in JSON texts. The system is guessed from the model's name.
"""

from __future__ import annotations

from typing import Final

from infraprism.processor.dialects import semconv
from infraprism.processor.dialects.table import Dialect, Layer

_USAGE: Final = "langsmith.usage_metadata"
_INPUT: Final = "gen_ai.usage.input_token_details"
_OUTPUT: Final = "gen_ai.usage.output_token_details"


def _input(name: str) -> tuple[str, ...]:
    return f"{_INPUT}.{name}", f"{_USAGE}.input_token_details.{name}"


def _output(name: str) -> tuple[str, ...]:
    return f"{_OUTPUT}.{name}", f"{_USAGE}.output_token_details.{name}"


LANGSMITH: Final = Dialect(
    name="LangSmith",
    markers=frozenset({"langsmith.span.kind"}),
    operations={"llm": "chat", "embedding": "embeddings"},
    keys={
        **semconv.keys_with(
            request_model=("langsmith.metadata.ls_model_name",),
            streamed=("langsmith.request.streaming",),
            service_tier=("gen_ai.response.service_tier",),
            input_tokens=(f"{_USAGE}.input_tokens",),
            output_tokens=(f"{_USAGE}.output_tokens",),
            total_tokens=(f"{_USAGE}.total_tokens",),
            cache_read_tokens=_input("cache_read"),
            cache_write_tokens=_input("cache_creation"),
            cache_write_1h_tokens=_input("ephemeral_1h_input_tokens"),
            reasoning_tokens=_output("reasoning"),
            audio_input_tokens=_input("audio"),
            audio_output_tokens=_output("audio"),
            session_on_span=("langsmith.metadata.thread_id", "langsmith.metadata.session_id"),
        ),
        "operation": ("langsmith.span.kind",),
        "provider": ("langsmith.metadata.ls_provider", *semconv.KEYS["provider"]),
    },
    json_texts=frozenset({_USAGE, _INPUT, _OUTPUT}),
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
