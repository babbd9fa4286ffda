"""All that the leak tests send through a collector: canaries in every place, and where an allowed key may stand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Final

from collector.generator.statements import Lists
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector.conftest import CALL
from tests.kit import otlp_canaries
from tests.kit.otlp_canaries import in_each_key

from infraprism.processor.dialects import DIALECTS
from infraprism.processor.dialects.semconv import SEMCONV
from infraprism.schema import fields, wire

EVENT: Final[dict[str, Any]] = {
    "infraprism.model": "gpt-4o-mini",
    "infraprism.provider": "openai",
    "infraprism.operation": "chat",
    "infraprism.input_tokens": 111,
    "infraprism.output_tokens": 37,
    "infraprism.total_tokens": 148,
    "infraprism.latency_ms": 1000,
    "infraprism.cost_usd": "0.0065",
    "infraprism.cost_status": "priced",
    "infraprism.success": True,
}
# A word may stand, by design, in a model's name and in what an application says of its own: short texts are the point.
NAMED: Final = frozenset(
    {
        "gen_ai.request.model",
        "gen_ai.response.model",
        fields.MODEL.key,
        fields.ENTITY_ID.key,
        fields.SESSION_ID.key,
        fields.TAG_PREFIX + "key",
    }
)


# One key for each field: a configuration of all kinds of statements, in a fraction of their number.
SMALL: Final = (replace(SEMCONV, keys={field: keys[:1] for field, keys in SEMCONV.keys.items()}),)


def keys(*, small: bool = False) -> list[str]:
    """Every key that may leave, and some that may not."""
    return [
        *Lists(SMALL if small else DIALECTS).exact,
        fields.TAG_PREFIX + "key",
        "infraprism.anything",
        "redaction.masked.keys",
        "gen_ai.prompt",
    ]


@cache
def spans(kinds: int | None = None, *, small: bool = False) -> tuple[ExportTraceServiceRequest, ...]:
    """Calls of others and events of our own with canaries in keys and in all other places.

    In the keys as a value of each type, or of the first `kinds` of them; in all keys, or in those of SMALL.
    """
    some = slice(kinds)
    return (
        *otlp_canaries.everywhere(CALL),
        *otlp_canaries.everywhere(EVENT, wire.SCOPE_NAME),
        *in_each_key(CALL, keys(small=small), NAMED, "openinference.instrumentation.openai", some),
        *in_each_key(EVENT, keys(small=small), NAMED, wire.SCOPE_NAME, some),
    )


def everything() -> tuple[Message, ...]:
    """The spans, and every other signal."""
    return (*spans(), otlp_canaries.logs(), otlp_canaries.metrics())
