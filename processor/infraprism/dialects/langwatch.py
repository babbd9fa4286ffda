"""LangWatch's own spans: its tracking of OpenAI's client, and functions decorated with `type="llm"`.

The provider is the prefix of the model's name, `openai/gpt-4o`.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Layer, RawSpan, SpanFields, with_fields

_METRICS: Final = "langwatch.metrics"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:  # noqa: ARG001 - a refine function
    """The provider is only in the model's name, `openai/gpt-4o`, which is read for providers like `langwatch`."""
    return with_fields(fields, provider="langwatch")


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
    layer=Layer.WRAPPER,
    refine=_refine,
)
