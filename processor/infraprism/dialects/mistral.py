"""The spans that the mistralai package writes itself if the application has a tracer provider.

During version 2 that became opt-in, with `MISTRAL_SDK_TELEMETRY=global`. Version 1 writes the operation of the API, and
counts under the conventions' names of before and after 1.27. It marks no errors. Later versions follow the conventions,
but the request to an agent that Mistral runs has the operation `invoke_agent`, and its response the operation `chat`:
the request is the call, and only the request has a host.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, RawSpan, SpanFields, with_fields

_AGENT: Final = "agents_api_v1_conversations_"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:  # noqa: ARG001 - a refine function
    """An error that mistralai cannot parse, as in streams, is not recorded: the span has no HTTP status.

    See the fixtures in mistral.json.
    """
    failed = fields.error is None and fields.http_status is None
    return with_fields(fields, error="_OTHER") if failed else fields


MISTRAL: Final = Dialect(
    name="Mistral",
    required_any=frozenset({"mistral_ai.operation.id", "gen_ai.operation.name"}),
    scopes=("mistralai_sdk_tracer",),
    operations={
        "chat": "chat",
        "invoke_agent": "chat",
        "text_completion": "completion",
        "embeddings": "embeddings",
        "generate_content": "other",  # OCR
        "chat_completion_v1_chat_completions_post": "chat",
        "stream_chat": "chat",
        "agents_completion_v1_agents_completions_post": "chat",
        "stream_agents": "chat",
        **{f"{_AGENT}{verb}{ending}": "chat" for verb in ("start", "append", "restart") for ending in ("", "_stream")},
        "fim_completion_v1_fim_completions_post": "completion",
        "stream_fim": "completion",
        "embeddings_v1_embeddings_post": "embeddings",
        "ocr_v1_ocr_post": "other",
        "audio_api_v1_transcriptions_post": "audio",
        "audio_api_v1_transcriptions_post_stream": "audio",
    },
    keys={
        **semconv.keys_with(total_tokens=("mistral_ai.request.total_tokens",)),
        "operation": ("mistral_ai.operation.id", "gen_ai.operation.name"),
    },
    needs=("host",),
    refine=_refine,
)
