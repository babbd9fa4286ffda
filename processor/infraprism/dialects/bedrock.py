"""OpenTelemetry's instrumentations of Amazon Bedrock: of botocore, and the newer one of the GenAI packages.

They follow the conventions with the counts as Bedrock reports them: the input excludes the cache. Chats, embeddings and
images have the same operation, so that the model's name determines the event's.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.refinements import names_model, without_counts
from infraprism.dialects.table import As, Dialect, RawSpan, SpanFields
from infraprism.dialects.values import map_words

_WITHOUT_USAGE: Final = r"(?:^|[./])(?:cohere\.command|mistral\.)"


def _refine(span: RawSpan, fields: SpanFields) -> SpanFields:
    """The `InvokeModel` responses of these models have no usage: botocore's estimates it by the length of the text.

    See the fixtures in bedrock.json.
    """
    is_estimate = span.attributes.get("rpc.method") == "InvokeModel" and names_model(fields, _WITHOUT_USAGE)
    return without_counts(fields) if is_estimate else fields


BEDROCK: Final = Dialect(
    name="OpenTelemetry for Bedrock",
    required_any=frozenset({"gen_ai.operation.name"}),
    scopes=("opentelemetry.instrumentation.botocore.bedrock-runtime", "opentelemetry.instrumentation.genai.bedrock"),
    operations=semconv.OPERATIONS,
    operation_by_model=True,
    keys=semconv.keys_with(
        streamed=(
            As(
                "rpc.method",
                map_words(Converse=False, InvokeModel=False, ConverseStream=True, InvokeModelWithResponseStream=True),
            ),
        ),
    ),
    input_excludes_cache=True,
    refine=_refine,
)
