"""Google's Agent Development Kit.

ADK follows the conventions. Earlier versions wrote no operation on the span of a call, and an output without thoughts,
which had a key of their own. Google's own instrumentation of google-genai is read by the dialect of the conventions:
its output includes thoughts.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Layer, NotInTotal

GOOGLE_ADK: Final = Dialect(
    name="Google ADK",
    required_any=frozenset({"gen_ai.operation.name", "gcp.vertex.agent.llm_request"}),
    scopes=("gcp.vertex.agent",),
    unnamed_operation="chat",
    operations={**semconv.OPERATIONS, "call_llm": "chat"},  # ADK for Java
    keys={
        **semconv.keys_with(session_on_span=("gcp.vertex.agent.session_id",)),
        "reasoning_tokens": (
            *semconv.KEYS["reasoning_tokens"],
            NotInTotal("gen_ai.usage.experimental.reasoning_tokens"),
        ),
    },
    zero_is_unreported=True,
    layer=Layer.FRAMEWORK,
)
