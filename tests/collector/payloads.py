"""All that the leak tests send through a collector: canaries in every place, and where an allowed key may stand."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any, Final

from collector.generator.keys import keys_of as key_names
from collector.generator.statements import Lists
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.collector.conftest import CALL
from tests.kit import otlp_canaries
from tests.kit.collector import CONFIG
from tests.kit.otlp_canaries import PROMPT, in_each_key, span, traces

from infraprism.dialects import DIALECTS
from infraprism.dialects.semconv import SEMCONV
from infraprism.dialects.table import Dialect
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
_MODELS: Final = ("request_model", "response_model")
# A word may stand, by design, in a model's name and in what an application says of its own: short texts are the point.
NAMED: Final = frozenset(
    {
        *(name for dialect in DIALECTS for field in _MODELS for name in key_names(field, dialect)),
        "langfuse.observation.model.name",
        fields.MODEL.key,
        fields.ENTITY_ID.key,
        fields.SESSION_ID.key,
        fields.TAG_PREFIX + "key",
    }
)
# What statements set on a span or in its cache under a name of their own, for later ones.
SCRATCH: Final = tuple(
    sorted({*re.findall(r'set\(span\.(?:attributes|cache)\["([^"]+)"\]', CONFIG.read_text())} - {*Lists().exact})
)
JSON_TEXT: Final = "langfuse.observation.usage_details"
JSON_DIALECT: Final = Dialect(
    name="json",
    required_any=frozenset({"langfuse.observation.type"}),
    operations={"generation": "chat"},
    keys={
        "operation": ("langfuse.observation.type",),
        "request_model": ("langfuse.observation.model.name",),
        "input_tokens": (f"{JSON_TEXT}.input", f"{JSON_TEXT}.prompt_tokens"),
        "output_tokens": (f"{JSON_TEXT}.output", f"{JSON_TEXT}.completion_tokens"),
        "cache_read_tokens": (f"{JSON_TEXT}.prompt_tokens_details.cached_tokens",),
    },
    json_texts=frozenset({JSON_TEXT}),
)
# One key for each field, and a text of JSON: a configuration of all kinds of statements, in a fraction of their number.
SMALL: Final = (JSON_DIALECT, replace(SEMCONV, keys={field: keys[:1] for field, keys in SEMCONV.keys.items()}))


def keys(*, small: bool = False) -> list[str]:
    """Every key that may leave, and some that may not."""
    return [
        *Lists(SMALL if small else DIALECTS).exact,
        fields.TAG_PREFIX + "key",
        "infraprism.anything",
        "redaction.masked.keys",
        "gen_ai.prompt",
        *SCRATCH,
    ]


def _event_keys() -> list[str]:
    """Every key of an event, and some that none may have."""
    own = [field.key for field in fields.FIELDS if field.kind != "tags"]
    return [*own, fields.TAG_PREFIX + "key", "infraprism.anything", "gen_ai.request.model", "gen_ai.prompt", *SCRATCH]


def _in_scratch(base: dict[str, Any], names: list[str]) -> list[Span]:
    """An application's own attributes of the statements' scratch names, with what the statements keep there."""
    held = (dict.fromkeys(names, PROMPT), names, [PROMPT, *names])
    return [span({**base, **dict.fromkeys(SCRATCH, value)}) for value in held]


@cache
def spans(kinds: int | None = None, *, small: bool = False) -> tuple[ExportTraceServiceRequest, ...]:
    """Calls of others and events of our own with canaries in keys and in all other places.

    In the keys as a value of each type, or of the first `kinds` of them; in all keys, or in those of SMALL.
    """
    some = slice(kinds)
    return (
        *otlp_canaries.everywhere(CALL),
        *otlp_canaries.everywhere(EVENT, wire.SCOPE_NAME),
        traces(_in_scratch(CALL, keys(small=small)), "openinference.instrumentation.openai"),
        traces(_in_scratch(EVENT, _event_keys()), wire.SCOPE_NAME),
        *in_each_key(CALL, keys(small=small), NAMED, "openinference.instrumentation.openai", some),
        *in_each_key(EVENT, _event_keys(), NAMED, wire.SCOPE_NAME, some),
    )


def everything(kinds: int | None = None) -> tuple[Message, ...]:
    """The spans, and every other signal."""
    return (*spans(kinds), otlp_canaries.logs(), otlp_canaries.metrics())
