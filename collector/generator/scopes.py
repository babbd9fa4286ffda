"""Names of instrumentation scopes that may be forwarded: those of known instrumentations; others become a SHA-256.

The backend compares them to distinguish two spans of one call, made by two instrumentations, from two calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from infraprism.dialects.guards import one_of
from infraprism.dialects.table import Dialect
from infraprism.schema import wire

VERSION: Final = "^(?:[0-9]{1,6}(?:[.][0-9]{1,6}){0,3}(?:(?:a|b|rc|[.]dev|[.]post)[0-9]{1,6}){0,3})?$"
"""Version of a Python package. Only the scope of InfraPrism's own exporters keeps its version."""
_BY_PREFIX: Final = {
    "opentelemetry.instrumentation.": (
        "alephalpha anthropic bedrock botocore.bedrock-runtime cohere crewai genai.anthropic genai.google_genai "
        "genai.langchain genai.openai genai.openai_agents google_genai google_generativeai groq haystack langchain "
        "llamaindex mistralai ollama openai openai.v0 openai.v1 openai_agents openai_v2 replicate sagemaker together "
        "transformers vertexai voyageai watsonx writer"
    ),
    "openinference.instrumentation.": (
        "agno anthropic autogen bedrock claude_agent_sdk crewai dspy google_adk google_genai groq guardrails haystack "
        "instructor langchain litellm llama_index mistralai openai openai_agents portkey pydantic_ai smolagents "
        "vertexai"
    ),
    "openlit.instrumentation.": (
        "anthropic azure_ai_inference bedrock cohere google_ai_studio groq langchain litellm mistral ollama openai "
        "vertexai"
    ),
    "@arizeai/openinference-instrumentation-": "anthropic langchain openai",
    "@opentelemetry/instrumentation-": "openai",
    "@traceloop/instrumentation-": "anthropic bedrock cohere langchain llamaindex openai vertexai",
    "": (
        "ai com.anthropic.sdk.python com.anthropic.sdk.typescript gcp.vertex.agent gen_ai langfuse-sdk litellm "
        "logfire.anthropic logfire.openai opentelemetry.util.genai.handler pydantic-ai strands.telemetry.tracer "
        f"haystack.tracing infraprism.instrumentation {wire.SCOPE_NAME}"
    ),
}
_STARTS: Final = (".", "-", "_")


def starts(dialects: Iterable[Dialect]) -> str:
    """The pattern of the prefixes by which dialects recognise scopes; of such a name the prefix alone is forwarded."""
    return _factored({}, (name for dialect in dialects for name in dialect.scopes if name.endswith(_STARTS)))


def pattern(dialects: Iterable[Dialect]) -> str:
    """The pattern of scope names that are forwarded as they are: known ones, a SHA-256, none."""
    return f"|[0-9a-f]{{64}}|{_factored(_BY_PREFIX, (name for dialect in dialects for name in dialect.scopes))}"


def _factored(known: Mapping[str, str], further: Iterable[str]) -> str:
    """Alternatives with the prefixes they share."""
    by_prefix = {prefix: set(known.get(prefix, "").split()) for prefix in _BY_PREFIX}
    for name in further:
        prefix = max((prefix for prefix in by_prefix if name.startswith(prefix) and name != prefix), key=len)
        by_prefix[prefix].add(name.removeprefix(prefix))
    groups = ((re.escape(prefix), one_of(names)) for prefix, names in by_prefix.items() if names)
    return "|".join(f"{prefix}(?:{names})" if prefix else names for prefix, names in groups)


def of_dialect(dialect: Dialect) -> str:
    """The pattern of the scopes by which a dialect is recognised."""
    return "^(?:" + "|".join(re.escape(name) + ("" if name.endswith(_STARTS) else "$") for name in dialect.scopes) + ")"
