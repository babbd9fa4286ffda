"""OpenTelemetry's own instrumentations of Amazon Bedrock: of botocore, and the newer one of its GenAI packages.

They follow the conventions, with the counts as Bedrock gives them: the input leaves the cache out. Where an answer of
`InvokeModel` has no usage, as those of Cohere's and Mistral's models, botocore's writes an estimate by the length of
the text. A model that makes embeddings or images is called with the same operation as one that talks.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import As, Dialect, Estimated
from infraprism.dialects.values import words

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
                words(Converse=False, InvokeModel=False, ConverseStream=True, InvokeModelWithResponseStream=True),
            ),
        ),
    ),
    input_excludes_cache=True,
    estimates=Estimated("rpc.method", "InvokeModel", r"(?:^|[./])(?:cohere\.command|mistral\.)"),
)
