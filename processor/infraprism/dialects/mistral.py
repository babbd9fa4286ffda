"""What the mistralai package writes by itself wherever an application has a tracer provider.

Within version 2 that became a switch, `MISTRAL_SDK_TELEMETRY=global`. Version 1 names the operation of the
API and counts under the conventions' names of before and of after 1.27; it marks no errors. Later ones follow the
conventions, but call the requests to an agent that Mistral runs `invoke_agent`, and what it answered `chat`: the
request is the call, and only it has a host. Of an error that they could not read, as in streams, they say nothing: such
a span lacks the HTTP status that all others have.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect

_AGENT: Final = "agents_api_v1_conversations_"

MISTRAL: Final = Dialect(
    name="Mistral",
    required_any=frozenset({"mistral_ai.operation.id", "gen_ai.operation.name"}),
    scopes=("mistralai_sdk_tracer",),
    operations={
        "chat": "chat",
        "invoke_agent": "chat",
        "text_completion": "completion",
        "embeddings": "embeddings",
        "generate_content": "other",  # reading of documents
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
    answers_with="http_status",
)
