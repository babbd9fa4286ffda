"""Future AGI (traceAI), all its packages: the conventions, and OpenInference where those say nothing.

Of streams and failed calls the model stands in the JSON text of the parameters alone, and of LangChain's model of Azure
in what that says of itself.
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
    needs=("request_model", "response_model"),  # any request of a client is a span, lists of models too
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
