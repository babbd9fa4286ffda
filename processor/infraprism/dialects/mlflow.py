"""MLflow's tracing, exported to a collector or into the application's own provider.

Each value is a JSON text, so that names are quoted. The usage includes the cache and has no thoughts. Before 3.5
Anthropic's input excluded the cache, and no key has the version. Spans of other instrumentations that pass through
MLflow have its keys as well; their scopes identify them. A failed call has its model only among the arguments of the
function. Of a stream of the anthropic package the span ends with the response headers, and its output is Python's repr
of the stream object.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects.table import As, Dialect
from infraprism.dialects.values import is_stream_object, quoted_model

_USAGE: Final = "mlflow.chat.tokenUsage"

MLFLOW: Final = Dialect(
    name="MLflow",
    required_any=frozenset({"mlflow.spanType"}),
    scopes=("mlflow.",),
    # LiteLLM's and LangChain's calls of all kinds are `LLM`. A reranker is a step of a framework.
    operations={'"CHAT_MODEL"': "chat", '"LLM"': "chat", '"EMBEDDING"': "embeddings"},
    operation_by_model=True,
    keys={
        "operation": ("mlflow.spanType",),
        "request_model": (As("mlflow.llm.model", quoted_model), As("model", quoted_model)),
        "provider": ("mlflow.llm.provider", "mlflow.message.format"),
        "error": ("error.type",),
        "streamed": ("stream", As("mlflow.spanOutputs", is_stream_object)),
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
