"""Which spans are about generative AI, as data: the keys that only such spans have, and who makes them.

A dialect's tables name what is worth knowing; here stands what gives a span away, whether or not anything of it is
worth knowing. To add one is to add a word to a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.dialects import DIALECTS

PREFIXES: Final = (
    *("gen_ai.", "llm.", "ai.", "openinference.", "embedding.", "reranker.", "retrieval.documents"),
    *("langfuse.observation.", "traceloop.span.", "traceloop.entity.", "traceloop.prompt.", "openlit.", "haystack."),
    *("pydantic_ai.", "anthropic.", "openai.", "crewai.", "crew_", "agno.", "strands.", "gcp.vertex.agent."),
    *("litellm.", "langchain.", "langgraph.", "llamaindex.", "llama_index.", "dspy.", "vertexai.", "graph.node."),
    *("mcp.", "lk.", "smolagents.", "autogen.", "semantic_kernel.", "genkit:", "mlflow.", "weave.", "agentops."),
    *("honeyhive_", "respan.entity.", "respan.metadata.", "lmnr.span.", "langwatch.", "confident.", "judgment."),
    *("raw.input", "raw.output", "mastra.", "voltagent.", "promptflow.", "monocle", "spring.ai.", "langsmith.span."),
    *("braintrust.input", "braintrust.output", "braintrust.metadata", "braintrust.span_attributes", "langtrace."),
    *("db.vector.", "db.query.embeddings", "db.query.result", "db.search.", "db.chroma.", "db.pinecone.", "db.milvus."),
    *("db.qdrant.", "db.weaviate.", "db.marqo.", "db.lancedb."),
)
"""Beginnings of keys: also those of stores that are asked by meaning, and answer with documents."""
_within: Final = re.compile(
    r"[.](?:llm|gen_ai|genai|(?:input|output)_messages|(?:prompt|completion)s?[.][0-9]+)[.]"
).search
"""The same words behind a vendor's own, as in `neatlogs.llm.input_messages.0.content`."""
KEYS: Final = frozenset(
    {
        *("input.value", "output.value", "input.mime_type", "output.mime_type", "input_messages", "output_messages"),
        *("request_data", "response_data", "all_messages_events", "final_result", "model_request_parameters"),
        *("tool_arguments", "tool_response", "llm_request_type", "agent_name", "tool_name"),
        *("fi.span.kind", "sk.available_functions"),
        # Portkey's: what a function was called with, and what it returned, stands under names of all kinds.
        "_source_type",
        # A decorator's own span, in whichever scope; what else begins so is put on all spans around a call.
        *("traceloop.span.kind", "traceloop.entity.input", "traceloop.entity.output"),
    }
)
CARRIED: Final = (
    *("traceloop.", "langfuse.", "ai.telemetry.", "metadata.langfuse", "honeyhive.", "lmnr.association."),
    *("braintrust.parent", "braintrust.context", "langsmith.metadata."),
    # Laminar's, on every span of the provider that it was given.
    *("lmnr.span.path", "lmnr.span.ids_path", "lmnr.span.instrumentation_source", "lmnr.span.sdk_version"),
    "lmnr.span.language_version",
)
"""Beginnings of keys that are put on all spans around a call as well, of whatever kind: only they are taken out."""
EVENTS: Final = ("gen_ai.", "llm.", "ai.", "strands.", "db.query.", "db.search.")
"""Beginnings of the names of events."""
PACKAGES: Final = (
    *("openai", "anthropic", "langchain", "langchain_core", "langchain_openai", "langchain_anthropic", "langgraph"),
    *("litellm", "google.genai", "google.generativeai", "google.adk", "vertexai", "mistralai", "cohere", "groq"),
    *("ollama", "together", "fireworks", "huggingface_hub", "replicate", "pydantic_ai", "llama_index", "haystack"),
    *("crewai", "agno", "strands", "autogen", "dspy", "smolagents", "instructor", "agents", "openrouter", "xai_sdk"),
)
"""Packages whose exceptions repeat what a provider answered, and by that prompts, keys and names of organizations."""
_SCOPES: Final = (
    *("openinference.", "openlit", "langfuse", "logfire.openai", "logfire.anthropic", "pydantic-ai", "pydantic_ai"),
    *("litellm", "strands", "haystack", "crewai", "agno", "com.anthropic.", "gcp.vertex.agent", "google.adk"),
    *("opentelemetry.util.genai", "opentelemetry.instrumentation.genai", "gen_ai", "@arizeai/", "@traceloop/"),
    *("traceloop", "infraprism.instrumentation", "langsmith", "mcp", "smolagents", "agent_framework", "langchain"),
    *("honeyhive", "respan", "keywordsai", "weave.", "semantic_kernel", "Microsoft.SemanticKernel", "Microsoft.Agents"),
    *("Microsoft.Extensions.AI", "Experimental.Microsoft.Extensions.AI", "Azure.AI.", "azure.ai.", "genkit", "letta"),
    *("langtrace_python_sdk", "portkey_ai.", "braintrust", "langwatch", "confident", "promptflow", "monocle", "mastra"),
    *("@mastra/", "lmnr."),
)
_SCOPE_NAMES: Final = frozenset({"ai"})
_ANYTHING: Final = frozenset({"org.springframework.boot"})
"""Scopes that tell a dialect, and that spans of all kinds are made in."""
_INSTRUMENTED: Final = frozenset(
    {
        *("openai", "openai_v2", "openai_agents", "anthropic", "alephalpha", "bedrock", "cohere", "groq", "mistralai"),
        *("google_generativeai", "google_genai", "vertexai", "ollama", "replicate", "sagemaker", "together"),
        *("transformers", "watsonx", "writer", "voyageai", "langchain", "llamaindex", "llama_index", "haystack"),
        *("crewai", "agno", "mcp", "langgraph", "litellm", "bedrock-runtime", "weaviate_genai", "dspy", "google_adk"),
        *("smolagents", "pydantic_ai", "claude_agent_sdk", "semantic_kernel", "agent_framework", "autogen", "portkey"),
        *("chromadb", "pinecone", "qdrant", "weaviate", "milvus", "marqo", "lancedb"),
    }
)
"""What stands behind `opentelemetry.instrumentation.`, and in other scopes beside a word that begins as the next."""
_INSTRUMENT: Final = "instrument"

_WORDS_AS_WELL: Final = frozenset(
    {"agents", "together", "replicate", "cohere", "groq", "ollama", "fireworks", "haystack", "strands", "instructor"}
    | {"autogen", "agno", "dspy"}
)
"""Packages whose names an application may give to folders of its own."""
_ANSWERS: Final = (
    *(r"Error code: \d{3}\b", r"\b\d{3} [A-Z_]{4,}\. \{'error'", r"\blitellm\.\w", r"API error occurred: Status \d{3}"),
    r"when calling the (?:Converse|ConverseStream|InvokeModel|InvokeModelWithResponseStream) operation",
    r"\b(?:OutputParserException|ModelHTTPError|UnexpectedModelBehavior|ContentFilterFinishReasonError)\b",
)
"""How texts of errors begin that go on with what a provider answered, wherever they are repeated."""


def _any(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


_PACKAGE: Final = _any(PACKAGES)
_exception_type: Final = re.compile(rf"(?:{_PACKAGE})\.").match
_NAMED: Final = rf"(?:^|[\s\"'(])(?:{_PACKAGE})\.[\w.]*(?:Error|Exception|Timeout)\b"
_answered: Final = re.compile("|".join((_NAMED, *_ANSWERS)), re.MULTILINE).search


def _paths(names: Iterable[str]) -> str:
    return _any(names).replace(r"\.", r"[/\\]")


_in_stacktrace: Final = re.compile(
    rf"(?:^|[\s\"'/\\])(?:{_paths(set(PACKAGES) - _WORDS_AS_WELL)})[/\\]"
    rf"|-packages[/\\](?:{_paths(_WORDS_AS_WELL)})[/\\]"
).search
_WORDS: Final = re.compile(r"[./@-]")


def is_genai(span: ReadableSpan) -> bool:
    """Whether a span is about generative AI: a call, an agent, a workflow, a tool, a retrieval, of any dialect."""
    scope = span.instrumentation_scope
    return (
        (scope is not None and _is_genai_scope(scope.name))
        or _tells(span.attributes)
        or any(event.name.startswith(EVENTS) or _tells(event.attributes) for event in span.events)
        or any(_tells(link.attributes) for link in span.links)
    )


def is_carried(key: str) -> bool:
    """Whether a key is one that was put on all spans around a call."""
    return key.startswith(CARRIED)


def repeats_a_provider(attributes: Mapping[str, Any] | None) -> bool:
    """Whether the attributes of an exception's event are of a client package's exception, or of one that came of it."""
    if not attributes:
        return False
    name, trace = attributes.get("exception.type"), attributes.get("exception.stacktrace")
    return (
        (isinstance(name, str) and _exception_type(name) is not None)
        or (isinstance(trace, str) and _in_stacktrace(trace) is not None)
        or any(repeats_an_answer(attributes.get(key)) for key in ("exception.message", "exception.stacktrace"))
    )


def repeats_an_answer(text: object) -> bool:
    """Whether the text of an error goes on with what a provider answered."""
    return isinstance(text, str) and _answered(text) is not None


def _tells(attributes: Iterable[str] | None) -> bool:
    return any(
        ((key.startswith(PREFIXES) or _within(key)) and not key.startswith(CARRIED)) or key in KEYS or key in _MARKERS
        for key in attributes or ()
    )


@lru_cache(maxsize=1024)
def _is_genai_scope(name: str) -> bool:
    if name in _SCOPE_NAMES or name.startswith(_SCOPES):
        return True
    if any(dialect.is_scope(name) for dialect in DIALECTS):
        return name not in _ANYTHING
    rest = name.removeprefix("opentelemetry.instrumentation.").removeprefix("@opentelemetry/instrumentation-")
    words = _WORDS.split(rest)
    instruments = rest != name or any(word.startswith(_INSTRUMENT) for word in words)
    return instruments and not _INSTRUMENTED.isdisjoint([*words, rest])


_MARKERS: Final = frozenset().union(*(dialect.required_any | dialect.exclusive_keys for dialect in DIALECTS))
