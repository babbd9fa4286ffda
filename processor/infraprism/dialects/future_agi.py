"""Future AGI (traceAI), all packages: the conventions, with OpenInference's keys for what they do not define.

Streams and failed calls have the model only in the JSON text of the parameters. LangChain's model for Azure has it only
in LangChain's own metadata.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from infraprism.dialects.semconv import SEMCONV

_PARAMETERS: Final = "gen_ai.request.parameters"

FUTURE_AGI: Final = replace(
    SEMCONV,
    name="Future AGI",
    required_any=frozenset({"gen_ai.span.kind"}),
    scopes=("traceai_",),
    unnamed_operation=None,
    operation_by_model=True,
    needs=("request_model", "response_model"),  # Every request of a client is a span, including lists of models.
    keys={
        **SEMCONV.keys,
        "request_model": (
            *SEMCONV.keys["request_model"],
            f"{_PARAMETERS}.model",
            "embedding.model_name",
            "ls_model_name",
        ),
        "provider": (*SEMCONV.keys["provider"], "ls_provider"),
    },
    json_texts=frozenset({_PARAMETERS}),
    first_chunk_events=frozenset({"First Token Stream Event"}),
)
