"""MLflow's tracing, where it exports its spans to a collector or into the application's own provider.

Each value is a JSON text, so that names stand in quotes. Its usage includes the cache and has no thoughts; before 3.5
Anthropic's input left the cache out, which nothing tells. Spans of others that pass through it have its keys as well,
and are told by their scopes. A failed call names its model only among the arguments of the function. A stream of the
anthropic package is handed on unread: the span ends with its headers, and prints the object in place of an answer.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import As, Dialect
from infraprism.dialects.values import quoted_model, stream_object

_USAGE: Final = "mlflow.chat.tokenUsage"

MLFLOW: Final = Dialect(
    name="MLflow",
    required_any=frozenset({"mlflow.spanType"}),
    scopes=("mlflow.",),
    # LLM is what LiteLLM's and LangChain's calls are named, whatever they do; a reranker is a step of a framework.
    operations={'"CHAT_MODEL"': "chat", '"LLM"': "chat", '"EMBEDDING"': "embeddings"},
    operation_by_model=True,
    keys={
        "operation": ("mlflow.spanType",),
        "request_model": (As("mlflow.llm.model", quoted_model), As("model", quoted_model)),
        "provider": ("mlflow.llm.provider", "mlflow.message.format"),
        "error": ("error.type",),
        "streamed": ("stream", As("mlflow.spanOutputs", stream_object)),
        "input_tokens": (f"{_USAGE}.input_tokens",),
        "output_tokens": (f"{_USAGE}.output_tokens",),
        "total_tokens": (f"{_USAGE}.total_tokens",),
        "cache_read_tokens": (f"{_USAGE}.cache_read_input_tokens",),
        "cache_write_tokens": (f"{_USAGE}.cache_creation_input_tokens",),
        "entity_type": ("infraprism.entity_type",),
        "entity_id": ("infraprism.entity_id",),
        "session_id": ("infraprism.session_id",),
    },
    json_texts=frozenset({_USAGE}),
    rank=1,
)
