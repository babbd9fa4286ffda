"""LangSmith's own export to OpenTelemetry, in Python and in Node.

Its operation names are `chat` for prompts and `embeddings` for retrievers: the kind of the run determines what is a
call. The usage is LangChain's: the input includes the cache. The parts are in texts, as JSON or as Python's repr; for
LangChain's own models in Python they are only in the metadata. The system is derived from the model's name.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Layer

_INPUT: Final = "gen_ai.usage.input_token_details"
_OUTPUT: Final = "gen_ai.usage.output_token_details"
_METADATA: Final = "langsmith.metadata.usage_metadata"

LANGSMITH: Final = Dialect(
    name="LangSmith",
    required_any=frozenset({"langsmith.span.kind"}),
    operations={"llm": "chat", "embedding": "embeddings"},
    operation_by_model=True,
    keys={
        **semconv.keys_with(
            request_model=("langsmith.metadata.ls_model_name",),
            streamed=("langsmith.request.streaming",),
            service_tier=("gen_ai.response.service_tier",),
            cache_read_tokens=(f"{_INPUT}.cache_read", f"{_METADATA}.input_token_details.cache_read"),
            cache_write_tokens=(f"{_INPUT}.cache_creation", f"{_METADATA}.input_token_details.cache_creation"),
            cache_write_1h_tokens=(
                f"{_INPUT}.ephemeral_1h_input_tokens",
                f"{_METADATA}.input_token_details.ephemeral_1h_input_tokens",
            ),
            reasoning_tokens=(f"{_OUTPUT}.reasoning", f"{_METADATA}.output_token_details.reasoning"),
            audio_input_tokens=(f"{_INPUT}.audio", f"{_METADATA}.input_token_details.audio"),
            audio_output_tokens=(f"{_OUTPUT}.audio", f"{_METADATA}.output_token_details.audio"),
            session_on_span=("langsmith.metadata.thread_id", "langsmith.metadata.session_id"),
        ),
        "operation": ("langsmith.span.kind",),
        "provider": ("langsmith.metadata.ls_provider", *semconv.KEYS["provider"]),
    },
    json_texts=frozenset({_INPUT, _OUTPUT, _METADATA}),
    zero_is_unreported=True,
    # LangSmith sets the status OK when the run begins, which is final: only the exception shows a failure.
    exception_fails=True,
    layer=Layer.FRAMEWORK,
)
