"""The dialects of instrumentations: one table per dialect, and the engine that reads spans by them.

A new dialect is one file with one table, listed in `DIALECTS`. The order matters: the first dialect that matches a span
is used. Dialects identified by their scope come first, since their spans can have keys of other dialects; then those
with an operation key of their own; then the conventions.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.ag2 import AG2
from infraprism.dialects.ai_sdk import AI_SDK, AI_SDK_7
from infraprism.dialects.bedrock import BEDROCK
from infraprism.dialects.claude_code import CLAUDE_CODE
from infraprism.dialects.codex import CODEX
from infraprism.dialects.future_agi import FUTURE_AGI
from infraprism.dialects.google_adk import GOOGLE_ADK
from infraprism.dialects.langfuse import LANGFUSE, LANGFUSE_LANGCHAIN
from infraprism.dialects.langsmith import LANGSMITH
from infraprism.dialects.langtrace import LANGTRACE
from infraprism.dialects.langwatch import LANGWATCH
from infraprism.dialects.litellm import LITELLM
from infraprism.dialects.logfire import LOGFIRE, LOGFIRE_AGENTS
from infraprism.dialects.mastra import MASTRA
from infraprism.dialects.mistral import MISTRAL
from infraprism.dialects.mlflow import MLFLOW
from infraprism.dialects.neatlogs import NEATLOGS
from infraprism.dialects.openinference import (
    OPENINFERENCE,
    OPENINFERENCE_AGNO,
    OPENINFERENCE_EXCLUSIVE,
    OPENINFERENCE_LLAMA_INDEX,
    OPENINFERENCE_OPENAI,
    OPENINFERENCE_RERANK,
)
from infraprism.dialects.openlit import (
    OPENLIT,
    OPENLIT_AG2,
    OPENLIT_EXCLUSIVE,
    OPENLIT_FORMER,
    OPENLIT_GOOGLE,
    OPENLIT_OLLAMA,
    OPENLIT_OPENAI,
)
from infraprism.dialects.openllmetry import (
    OPENLLMETRY,
    OPENLLMETRY_BEDROCK,
    OPENLLMETRY_CHAT,
    OPENLLMETRY_EXCLUSIVE,
    OPENLLMETRY_IMAGES,
    OPENLLMETRY_OPENAI,
)
from infraprism.dialects.pydantic_ai import PYDANTIC_AI
from infraprism.dialects.respan import RESPAN
from infraprism.dialects.semconv import SEMCONV, SEMCONV_GOOGLE, SEMCONV_TANSTACK, SEMCONV_ZEROS
from infraprism.dialects.spring_ai import SPRING_AI
from infraprism.dialects.strands import STRANDS, STRANDS_NODE
from infraprism.dialects.table import Dialect
from infraprism.dialects.voltagent import VOLTAGENT

DIALECTS: Final[tuple[Dialect, ...]] = (
    LOGFIRE,
    LOGFIRE_AGENTS,
    PYDANTIC_AI,
    STRANDS,
    STRANDS_NODE,
    GOOGLE_ADK,
    AG2,
    CLAUDE_CODE,
    CODEX,
    BEDROCK,
    MISTRAL,
    MLFLOW,
    LANGTRACE,
    OPENLIT_AG2,
    OPENLIT_OPENAI,
    OPENLIT_EXCLUSIVE,
    OPENLIT_GOOGLE,
    OPENLIT_OLLAMA,
    OPENLIT_FORMER,
    OPENLIT,
    SPRING_AI,
    RESPAN,
    FUTURE_AGI,
    OPENLLMETRY_IMAGES,
    OPENLLMETRY_BEDROCK,
    OPENLLMETRY_EXCLUSIVE,
    OPENLLMETRY_CHAT,
    OPENLLMETRY_OPENAI,
    AI_SDK_7,
    AI_SDK,
    LANGSMITH,
    LANGWATCH,
    MASTRA,
    VOLTAGENT,
    OPENINFERENCE_EXCLUSIVE,
    OPENINFERENCE_OPENAI,
    OPENINFERENCE_RERANK,
    OPENINFERENCE_AGNO,
    OPENINFERENCE_LLAMA_INDEX,
    OPENINFERENCE,
    NEATLOGS,
    LANGFUSE_LANGCHAIN,
    LANGFUSE,
    LITELLM,
    OPENLLMETRY,
    SEMCONV_TANSTACK,
    SEMCONV_GOOGLE,
    SEMCONV_ZEROS,
    SEMCONV,
)
