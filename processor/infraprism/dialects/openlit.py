"""OpenLIT.

It follows the conventions, with the counts of each provider as it gives them: for Anthropic and Bedrock the input
leaves the cache out, and for Google the output leaves thoughts out. Where a stream has no usage it estimates both
counts; the openai package's streams then lack the count of cached tokens, which stands beside reported usage, be it 0.
With LangChain, and in Node, nothing tells an estimate. In Node the server is the one that the provider has, whichever
was called. What it calls `gen_ai.client.token.usage` is its own sum of the two, and proves nothing; its cost is
computed by itself, and not read. Its packages for Groq and Together fail to read an answer that calls tools, and write
their own error on the span of a call that succeeded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Estimated, Lacking, NotInTotal

OPENLIT: Final = Dialect(
    name="OpenLIT",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("openlit", "openlit.", "@openlit/instrumentation-"),
    operations={
        **semconv.OPERATIONS,
        "embedding": "embeddings",  # before it followed the conventions
        "image": "image",
        "audio": "audio",
        "speech_to_text": "audio",
        "speech_to_text_translate": "audio",
        "text_to_speech": "audio",
        "rerank": "rerank",
    },
    keys=semconv.keys_with(
        streamed=("gen_ai.request.is_stream",),
        time_to_first_token_ms=("gen_ai.server.time_to_first_token",),
    ),
    own_errors=frozenset({"attributeerror"}),
    zero_is_unreported=True,
    rank=2,
)
OPENLIT_OPENAI: Final = replace(
    OPENLIT,
    name="OpenLIT for OpenAI",
    scopes=("openlit.instrumentation.openai",),
    excluded_span_name_prefixes=(
        "responses.retrieve ",
        "responses.cancel ",
        "responses.token_count ",
        "chat.messages.list ",
    ),
    estimates_lack=Lacking("cache_read_tokens"),
    rank=0,
)
"""The same, where an estimate can be told, and what only fetches or counts is called a chat as well."""
OPENLIT_EXCLUSIVE: Final = replace(
    OPENLIT,
    name="OpenLIT for Anthropic and Bedrock",
    scopes=(
        *("openlit.instrumentation.anthropic", "openlit.instrumentation.bedrock"),
        *("@openlit/instrumentation-anthropic", "@openlit/instrumentation-bedrock"),
    ),
    input_excludes_cache=True,
)
"""The same, where the input is what these providers call so."""
OPENLIT_GOOGLE: Final = replace(
    OPENLIT,
    name="OpenLIT for Google",
    scopes=(
        *("openlit.instrumentation.google_ai_studio", "openlit.instrumentation.vertexai"),
        *("@openlit/instrumentation-google-ai", "@openlit/instrumentation-vertexai"),
    ),
    keys={
        **OPENLIT.keys,
        "reasoning_tokens": tuple(map(NotInTotal, semconv.REASONING_TOKENS)),
    },
)
"""The same, where the output is what Google calls candidates."""
OPENLIT_OLLAMA: Final = replace(
    OPENLIT,
    name="OpenLIT for Ollama",
    scopes=("openlit.instrumentation.ollama",),
    estimates=Estimated("gen_ai.operation.name", "embeddings", ""),
)
"""The same, where the counts of embeddings are estimates."""
OPENLIT_AG2: Final = replace(
    OPENLIT,
    name="OpenLIT for AG2",
    scopes=("openlit.instrumentation.ag2",),
    operations={name: meant for name, meant in OPENLIT.operations.items() if meant != "chat"},
)
"""The same, where what agents send each other is called a chat, with counts that are estimates."""
OPENLIT_FORMER: Final = replace(
    OPENLIT,
    name="OpenLIT of one scope",
    scopes=("openlit.otel.tracing",),
    estimates=Estimated("gen_ai.request.is_stream", value=True, models="^(?:azure_|ft:)?(?:gpt-|chatgpt-|o[0-9])"),
)
"""The same up to 1.33, where all packages wrote in one scope and OpenAI's streams were always estimated."""
