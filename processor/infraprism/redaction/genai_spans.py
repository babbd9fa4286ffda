"""Recognises the spans of generative AI, and the error texts that repeat a provider's response.

The tables of the dialects have the scopes and keys of calls. The lists in this module add what identifies agents,
tools, retrievals and products without a dialect. To add a product, add a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import FRAMEWORKS, WRAPPERS

KEY_PREFIXES: Final = (
    *("gen_ai.", "llm.", "ai.", "openinference.", "embedding.", "reranker.", "retrieval.documents", "openlit."),
    *("traceloop.span.", "traceloop.entity.", "traceloop.prompt.", "anthropic.", "openai.", "crew_", "vertexai."),
    *(
        "graph.node.",
        "lk.",
        "genkit:",
        "weave.",
        "agentops.",
        "honeyhive_",
        "respan.entity.",
        "respan.metadata.",
        "lmnr.span.",
    ),
    *("langwatch.", "confident.", "judgment.", "raw.input", "raw.output", "mastra.", "voltagent.", "promptflow."),
    *("monocle", "spring.ai.", "braintrust.input", "braintrust.output", "braintrust.metadata"),
    *("braintrust.span_attributes", "langtrace.", "langsmith.span."),
    # Vector stores: the results are documents.
    *("db.vector.", "db.query.embeddings", "db.query.result", "db.search.", "db.chroma.", "db.pinecone.", "db.milvus."),
    *("db.qdrant.", "db.weaviate.", "db.marqo.", "db.lancedb."),
)
"""Prefixes of the keys and of the event names of products, in addition to those of the dialects and frameworks."""
KEYS: Final = frozenset(
    {
        *("input.value", "output.value", "input.mime_type", "output.mime_type", "input_messages", "output_messages"),
        *("request_data", "response_data", "all_messages_events", "final_result", "model_request_parameters"),
        *("tool_arguments", "tool_response", "llm_request_type", "agent_name", "tool_name"),
        *("fi.span.kind", "sk.available_functions"),
        # Portkey's. Arguments and results of the function have keys of any name.
        "_source_type",
        # Spans of a decorator, in any scope. Other keys with this prefix are on all spans that enclose a call.
        *("traceloop.span.kind", "traceloop.entity.input", "traceloop.entity.output"),
    }
)
"""Keys that only spans of generative AI have."""
PROPAGATED_PREFIXES: Final = (
    *("traceloop.", "langfuse.", "ai.telemetry.", "metadata.langfuse", "honeyhive.", "lmnr.association."),
    *("braintrust.parent", "braintrust.context", "langsmith.metadata."),
    # Laminar writes these on every span of the provider.
    *("lmnr.span.path", "lmnr.span.ids_path", "lmnr.span.instrumentation_source", "lmnr.span.sdk_version"),
    "lmnr.span.language_version",
)
"""Prefixes of keys that products also write on other spans, which enclose a call: only the keys are removed."""
PACKAGES: Final = (
    *("openai", "anthropic", "langchain", "langchain_core", "langchain_openai", "langchain_anthropic", "langgraph"),
    *("litellm", "google.genai", "google.generativeai", "google.adk", "vertexai", "mistralai", "cohere", "groq"),
    *("ollama", "together", "fireworks", "huggingface_hub", "replicate", "pydantic_ai", "llama_index", "haystack"),
    *("crewai", "agno", "strands", "autogen", "dspy", "smolagents", "instructor", "agents", "openrouter", "xai_sdk"),
)
"""Packages with exceptions that repeat the provider's response, which can contain prompts and API keys."""
_COMMON_NAMES: Final = frozenset(
    {"agents", "together", "replicate", "cohere", "groq", "ollama", "fireworks", "haystack", "strands", "instructor"}
    | {"autogen", "agno", "dspy"}
)
"""Packages with names that an application's own folders can have."""
_RESPONSES: Final = (
    *(r"Error code: \d{3}\b", r"\b\d{3} [A-Z_]{4,}\. \{'error'", r"\blitellm\.\w", r"API error occurred: Status \d{3}"),
    r"when calling the (?:Converse|ConverseStream|InvokeModel|InvokeModelWithResponseStream) operation",
    r"\b(?:OutputParserException|ModelHTTPError|UnexpectedModelBehavior|ContentFilterFinishReasonError)\b",
)
"""Patterns of error texts that are followed by the provider's response."""
_SHARED_SCOPES: Final = frozenset({"org.springframework.boot"})
"""Scopes of a dialect in which spans of all kinds are made."""
_SCOPE_PREFIXES: Final = (
    *(scope.rstrip("._-") for dialect in DIALECTS for scope in dialect.scopes if scope not in _SHARED_SCOPES),
    *("openinference.", "openlit", "langfuse", "pydantic_ai", "com.anthropic.", "google.adk", "traceloop", "langsmith"),
    *("opentelemetry.util.genai", "opentelemetry.instrumentation.genai", "infraprism.instrumentation", "@arizeai/"),
    *("honeyhive", "respan", "keywordsai", "weave.", "Microsoft.SemanticKernel", "Microsoft.Agents", "@traceloop/"),
    *("Microsoft.Extensions.AI", "Experimental.Microsoft.Extensions.AI", "Azure.AI.", "azure.ai.", "genkit", "letta"),
    *("portkey_ai.", "braintrust", "langwatch", "confident", "promptflow", "monocle", "mastra", "@mastra/", "lmnr."),
)
"""Prefixes of scopes: those of the dialects, and of products without a scope in a table."""
_SCOPES: Final = frozenset({"ai"})
_STORES: Final = ("weaviate_genai", "chromadb", "pinecone", "qdrant", "weaviate", "milvus", "marqo", "lancedb")
_SEPARATOR: Final = re.compile(r"[./@-]")
_OTEL: Final = "opentelemetry.instrumentation."
_NODE: Final = "@opentelemetry/instrumentation-"
_INSTRUMENT: Final = "instrument"


def _instrumented() -> Iterator[str]:
    yield from (*FRAMEWORKS, *WRAPPERS, *_STORES, "openai_v2")
    for scope in (scope for dialect in DIALECTS for scope in dialect.scopes if scope.startswith(_OTEL)):
        yield _SEPARATOR.split(scope.removeprefix(_OTEL).rstrip("."))[-1]


_INSTRUMENTED: Final = frozenset(_instrumented())
"""Names of instrumented packages in the scopes of instrumentations."""
_FRAMEWORK_PREFIXES: Final = tuple(sorted({*FRAMEWORKS, *WRAPPERS} - {"instructor", "guardrails"}))
_PREFIXES: Final = (*KEY_PREFIXES, *(f"{name}." for name in _FRAMEWORK_PREFIXES), "mlflow.", "gcp.vertex.agent.")
_MARKERS: Final = KEYS.union(*(dialect.required_any | dialect.exclusive_keys for dialect in DIALECTS))
_nested_key: Final = re.compile(
    r"[.](?:llm|gen_ai|genai|(?:input|output)_messages|(?:prompt|completion)s?[.][0-9]+)[.]"
).search
"""The same keys with a vendor's prefix, as in `neatlogs.llm.input_messages.0.content`."""


def _alternatives(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


def _paths(names: Iterable[str]) -> str:
    return _alternatives(names).replace(r"\.", r"[/\\]")


_PACKAGE: Final = _alternatives(PACKAGES)
_exception_type: Final = re.compile(rf"(?:{_PACKAGE})\.").match
_EXCEPTION: Final = rf"(?:^|[\s\"'(])(?:{_PACKAGE})\.[\w.]*(?:Error|Exception|Timeout)\b"
_response: Final = re.compile("|".join((_EXCEPTION, *_RESPONSES)), re.MULTILINE).search
_in_stacktrace: Final = re.compile(
    rf"(?:^|[\s\"'/\\])(?:{_paths(set(PACKAGES) - _COMMON_NAMES)})[/\\]|-packages[/\\](?:{_paths(_COMMON_NAMES)})[/\\]"
).search


def is_genai(span: ReadableSpan) -> bool:
    """Whether a span describes generative AI: a call, an agent, a workflow, a tool or a retrieval, of any dialect."""
    scope = span.instrumentation_scope
    return (
        (scope is not None and _is_genai_scope(scope.name))
        or _has_genai_key(span.attributes)
        or any(event.name.startswith(_PREFIXES) or _has_genai_key(event.attributes) for event in span.events)
        or any(_has_genai_key(link.attributes) for link in span.links)
    )


def is_propagated(key: str) -> bool:
    """Whether products write this key on all spans that enclose a call."""
    return key.startswith(PROPAGATED_PREFIXES)


def is_provider_exception(attributes: Mapping[str, Any] | None) -> bool:
    """Whether the attributes of an exception event are those of a client package's exception, or of one it caused."""
    if not attributes:
        return False
    name, trace = attributes.get("exception.type"), attributes.get("exception.stacktrace")
    return (
        (isinstance(name, str) and _exception_type(name) is not None)
        or (isinstance(trace, str) and _in_stacktrace(trace) is not None)
        or any(repeats_response(attributes.get(key)) for key in ("exception.message", "exception.stacktrace"))
    )


def repeats_response(text: object) -> bool:
    """Whether an error text is followed by a provider's response."""
    return isinstance(text, str) and _response(text) is not None


def _has_genai_key(attributes: Iterable[str] | None) -> bool:
    return any(
        key in _MARKERS or ((key.startswith(_PREFIXES) or _nested_key(key)) and not key.startswith(PROPAGATED_PREFIXES))
        for key in attributes or ()
    )


@lru_cache(maxsize=1024)
def _is_genai_scope(name: str) -> bool:
    if name in _SCOPES or name.startswith(_SCOPE_PREFIXES):
        return True
    words = _SEPARATOR.split(name)
    if words[0] in FRAMEWORKS or words[0] in WRAPPERS:
        return True
    rest = name.removeprefix(_OTEL).removeprefix(_NODE)
    words = _SEPARATOR.split(rest)
    is_instrumentation = rest != name or any(word.startswith(_INSTRUMENT) for word in words)
    return is_instrumentation and not _INSTRUMENTED.isdisjoint([*words, rest])
