"""LangWatch, its own spans: what it tracks of OpenAI's client, and what `type="llm"` makes of a function.

The provider only stands before the model's name, `openai/gpt-4o`.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Layer

_METRICS: Final = "langwatch.metrics"

LANGWATCH: Final = Dialect(
    name="LangWatch",
    required_any=frozenset({"langwatch.span.type"}),
    operations={"llm": "chat"},
    keys={
        **semconv.keys_with(
            input_tokens=(f"{_METRICS}.prompt_tokens",),
            output_tokens=(f"{_METRICS}.completion_tokens",),
            reasoning_tokens=(f"{_METRICS}.reasoning_tokens",),
        ),
        "operation": ("langwatch.span.type",),
    },
    needs=("request_model", "response_model"),
    json_texts=frozenset({_METRICS}),
    billed_by="langwatch",
    layer=Layer.WRAPPER,
)
