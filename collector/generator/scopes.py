"""Which names of instrumentation scopes may leave: those of known instrumentations. Any other becomes a fingerprint.

The backend needs them to tell two spans of one call, made by two instrumentations, from two calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from collector.generator.guards import one_of

from infraprism.dialects.table import Dialect
from infraprism.schema import wire

VERSION: Final = "^(?:[0-9]{1,6}(?:[.][0-9]{1,6}){0,3}(?:(?:a|b|rc|[.]dev|[.]post)[0-9]{1,6}){0,3})?$"
"""Numbers, and the words that Python's versions know. Only our own scope keeps its version."""

_OPENTELEMETRY: Final = (
    "alephalpha",
    "anthropic",
    "bedrock",
    "cohere",
    "crewai",
    "google_generativeai",
    "groq",
    "haystack",
    "langchain",
    "llamaindex",
    "mistralai",
    "ollama",
    "openai",
    "openai.v0",
    "openai.v1",
    "openai_agents",
    "openai_v2",
    "replicate",
    "sagemaker",
    "together",
    "transformers",
    "vertexai",
    "voyageai",
    "watsonx",
    "writer",
    "botocore.bedrock-runtime",
    "google_genai",
    "genai.openai",
    "genai.anthropic",
    "genai.google_genai",
    "genai.langchain",
    "genai.openai_agents",
)
_OPENINFERENCE: Final = (
    "agno",
    "anthropic",
    "autogen",
    "bedrock",
    "claude_agent_sdk",
    "crewai",
    "dspy",
    "google_adk",
    "google_genai",
    "groq",
    "guardrails",
    "haystack",
    "instructor",
    "langchain",
    "litellm",
    "llama_index",
    "mistralai",
    "openai",
    "openai_agents",
    "portkey",
    "pydantic_ai",
    "smolagents",
    "vertexai",
)
_OPENLIT: Final = (
    "anthropic",
    "azure_ai_inference",
    "bedrock",
    "cohere",
    "google_ai_studio",
    "groq",
    "langchain",
    "litellm",
    "mistral",
    "ollama",
    "openai",
    "vertexai",
)
_NODE: Final = (
    "@arizeai/openinference-instrumentation-anthropic",
    "@arizeai/openinference-instrumentation-langchain",
    "@arizeai/openinference-instrumentation-openai",
    "@opentelemetry/instrumentation-openai",
    "@traceloop/instrumentation-anthropic",
    "@traceloop/instrumentation-bedrock",
    "@traceloop/instrumentation-cohere",
    "@traceloop/instrumentation-langchain",
    "@traceloop/instrumentation-llamaindex",
    "@traceloop/instrumentation-openai",
    "@traceloop/instrumentation-vertexai",
)
_OTHERS: Final = (
    "ai",
    "com.anthropic.sdk.python",
    "com.anthropic.sdk.typescript",
    "gcp.vertex.agent",
    "gen_ai",
    "langfuse-sdk",
    "litellm",
    "logfire.anthropic",
    "logfire.openai",
    "opentelemetry.util.genai.handler",
    "pydantic-ai",
    "strands.telemetry.tracer",
    "haystack.tracing",
)

KNOWN: Final = (
    *(f"opentelemetry.instrumentation.{name}" for name in _OPENTELEMETRY),
    *(f"openinference.instrumentation.{name}" for name in _OPENINFERENCE),
    *(f"openlit.instrumentation.{name}" for name in _OPENLIT),
    *_NODE,
    *_OTHERS,
    wire.SCOPE_NAME,
    "infraprism.instrumentation",
)


_STARTS: Final = (".", "-", "_")


def starts(dialects: Sequence[Dialect]) -> tuple[str, ...]:
    """The beginnings of names by which tables tell their scopes, longest first.

    Of a scope that begins so, and is not known by its whole name, the beginning alone leaves.
    """
    found = {name for dialect in dialects for name in dialect.scopes if name.endswith(_STARTS)}
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def pattern(dialects: Sequence[Dialect]) -> str:
    """The anchored pattern of all that a name may be: a known one, a fingerprint, or empty."""
    names = one_of({*KNOWN, *(name for dialect in dialects for name in dialect.scopes), ""})
    return names.removesuffix(")$") + "|[0-9a-f]{64})$"


def of_dialect(dialect: Dialect) -> str:
    """The pattern of the scopes that a table tells its dialect by."""
    names = (re.escape(name) + ("" if name.endswith(_STARTS) else "$") for name in sorted(dialect.scopes))
    return "^(?:" + "|".join(names) + ")"
