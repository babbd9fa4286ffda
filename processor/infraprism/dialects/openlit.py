"""OpenLIT, all packages.

OpenLIT follows the conventions with the counts of each provider as reported: for Anthropic and Bedrock the input
excludes the cache, for Google the output excludes thoughts. For streams without usage it estimates both counts. The
openai package's streams then have no count of cached tokens, which OpenLIT writes next to reported usage, also as 0.
With LangChain, and in Node, no key marks an estimate. In Node the server is always the provider's default.
`gen_ai.client.token.usage` is OpenLIT's own sum and proves nothing. Its computed cost is not read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.refinements import names_model, without_counts
from infraprism.dialects.table import Dialect, NotInTotal, RawSpan, SpanFields, with_fields
from infraprism.dialects.values import flag

_OPENAI: Final = "^(?:azure_|ft:)?(?:gpt-|chatgpt-|o[0-9])"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:
    """The packages for Groq, Together and Ollama record an AttributeError of their own for some successful calls.

    They fail to parse a response with tool calls, after the call. The span has the response id or the output: see the
    fixtures in openlit.json.
    """
    if fields.error is None and not span.has_error_status():
        return fields
    has_output = fields.output_tokens is not None and (fields.output_tokens or fields.input_tokens)
    if fields.response_id is None and not has_output:
        return fields
    error = fields.error or next(iter(span.exception_types()), "")
    return with_fields(fields, failed=False) if error.lower() == "attributeerror" else fields


def _refine_openai(span: RawSpan, fields: SpanFields) -> SpanFields:
    """A stream without cached tokens has an estimate: next to reported usage OpenLIT writes them, also as 0."""
    is_estimate = fields.streamed and fields.cache_read_tokens is None
    return _refine(span, without_counts(fields) if is_estimate else fields)


def _refine_ollama(span: RawSpan, fields: SpanFields) -> SpanFields:
    """The counts of embeddings are estimates."""
    return _refine(span, without_counts(fields) if span.operation == "embeddings" else fields)


def _refine_former(span: RawSpan, fields: SpanFields) -> SpanFields:
    """The counts of OpenAI's streams are estimates."""
    is_estimate = flag(span.attributes.get("gen_ai.request.is_stream")) and names_model(fields, _OPENAI)
    return _refine(span, without_counts(fields) if is_estimate else fields)


OPENLIT: Final = Dialect(
    name="OpenLIT",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("openlit", "openlit.", "@openlit/instrumentation-"),
    operations={
        **semconv.OPERATIONS,
        "embedding": "embeddings",  # versions before OpenLIT followed the conventions
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
    zero_is_unreported=True,
    rank=2,
    refine=_refine,
)
OPENLIT_OPENAI: Final = replace(
    OPENLIT,
    name="OpenLIT for OpenAI",
    scopes=("openlit.instrumentation.openai",),
    excluded_span_names=(
        "responses.retrieve *",
        "responses.cancel *",
        "responses.token_count *",
        "chat.messages.list *",
    ),
    rank=0,
    refine=_refine_openai,
)
"""Estimates can be recognised. Requests that only fetch a response or count tokens have the operation of a chat."""
OPENLIT_EXCLUSIVE: Final = replace(
    OPENLIT,
    name="OpenLIT for Anthropic and Bedrock",
    scopes=(
        *("openlit.instrumentation.anthropic", "openlit.instrumentation.bedrock"),
        *("@openlit/instrumentation-anthropic", "@openlit/instrumentation-bedrock"),
    ),
    input_excludes_cache=True,
)
"""The input is these providers' own, which excludes the cache."""
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
"""The output is Google's count of candidates, which excludes thoughts."""
OPENLIT_OLLAMA: Final = replace(
    OPENLIT,
    name="OpenLIT for Ollama",
    scopes=("openlit.instrumentation.ollama",),
    refine=_refine_ollama,
)
"""OpenLIT estimates the tokens of embeddings."""
OPENLIT_AG2: Final = replace(
    OPENLIT,
    name="OpenLIT for AG2",
    scopes=("openlit.instrumentation.ag2",),
    operations={name: meant for name, meant in OPENLIT.operations.items() if meant != "chat"},
)
"""Messages between agents have the operation of a chat, with estimated counts."""
OPENLIT_FORMER: Final = replace(
    OPENLIT,
    name="OpenLIT of one scope",
    scopes=("openlit.otel.tracing",),
    refine=_refine_former,
)
"""Up to 1.33 all packages wrote in one scope, and OpenAI's streams were always estimated."""
