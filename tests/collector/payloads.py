"""Requests of the leak tests: canaries in every place, and under every key that may be forwarded."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from collector.generator.allowed import Allowed
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.collector.conftest import CALL
from tests.kit import otlp_canaries
from tests.kit.collector import CONFIG
from tests.kit.otlp_canaries import PROMPT, WORD, export_request, in_each_key, span

from infraprism.dialects import DIALECTS
from infraprism.dialects.guards import GUARDS
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
# A word is allowed as the name of a model, and in what an application sets as attribution: that is their purpose.
NAMED: Final = frozenset(
    {
        *(key for key, guard in GUARDS.items() if guard.kind == "model"),
        fields.MODEL.key,
        fields.ENTITY_ID.key,
        fields.SESSION_ID.key,
        fields.TAG_PREFIX + "key",
    }
)
_ALLOWED: Final = Allowed(DIALECTS)
KEYS: Final = tuple(_ALLOWED.keys)
ONE_OF_EACH_KIND: Final = tuple(keys[0] for keys in _ALLOWED.by_kind.values()) + tuple(CALL)
ONE_OF_EACH_EVENT_KIND: Final = (
    *(f"infraprism.{name}" for name in ("model", "operation", "input_tokens", "error_code", "success")),
    "gen_ai.prompt",
)
"""One key for each kind of value, and those of a call: the statements treat all keys of a kind the same."""
# Names that statements use for attributes or working variables of their own.
SCRATCH: Final = tuple(
    sorted(
        {*re.findall(r'span\.cache\["([^"]+)"\]', CONFIG.read_text(encoding="utf-8"))}
        - {*KEYS}
        - {key for dialect in DIALECTS for key in dialect.json_texts}
        | {"exception.last", "status.class", "status.code", "status.text", "status.word"}
    )
)
_MARKED: Final = (
    *(f"#{WORD}", f"##{WORD}", f"#{PROMPT}", "#", f"\n#{WORD}", f'"#{WORD}"', f"x@#{WORD}", f"a_#{WORD}", f"a.#{WORD}"),
    *(
        f"#{WORD}: a.RateLimitError",
        f"https://#{WORD}",
        f"openai.#{WORD}",
        f"#Error code: 429 - {WORD}",
        f'["#{WORD}"]',
    ),
)
"""The allow-list writes this mark before values that passed it."""


def keys() -> list[str]:
    """Every key that may be forwarded, and some that may not."""
    return [*KEYS, fields.TAG_PREFIX + "key", "infraprism.anything", "redaction.masked.keys", "gen_ai.prompt", *SCRATCH]


def _event_keys() -> list[str]:
    """Every key of an event, and some that no event may have."""
    own = [field.key for field in fields.FIELDS if field.kind != "tags"]
    return [*own, fields.TAG_PREFIX + "key", "infraprism.anything", "gen_ai.request.model", "gen_ai.prompt", *SCRATCH]


def _scratch(base: dict[str, Any], names: list[str]) -> list[Span]:
    """Attributes of an application under the names of working variables, with values of the kind kept there."""
    held = (dict.fromkeys(names, PROMPT), names, [PROMPT, *names])
    return [span({**base, **dict.fromkeys(SCRATCH, value)}) for value in held]


def _marked(base: dict[str, Any], names: list[str]) -> list[Span]:
    """Values that begin with the mark, alone and nested, under each key."""
    nested = {"gen_ai": {"operation": {"name": f"#{WORD}"}, "request": {"model": [f"#{PROMPT}"]}}}
    values = [(key, value) for key in names for value in _MARKED if key not in NAMED or WORD not in value]
    return [span({**base, **nested, key: value}) for key, value in values]


@cache
def spans(kinds: int | None = None, *, few: bool = False) -> tuple[ExportTraceServiceRequest, ...]:
    """Calls of other instrumentations and own events with canaries under all keys and in all other places.

    Under the keys as a value of each type, or of the first `kinds` of them; under all keys, or one of each kind.
    """
    some = slice(kinds)
    own = [*ONE_OF_EACH_EVENT_KIND] if few else _event_keys()
    foreign = [*ONE_OF_EACH_KIND, *keys()[len(KEYS) :]] if few else keys()
    return (
        *otlp_canaries.everywhere(CALL),
        *otlp_canaries.everywhere(EVENT, wire.SCOPE_NAME),
        export_request(_scratch(CALL, foreign), "openinference.instrumentation.openai"),
        export_request(_scratch(EVENT, own), wire.SCOPE_NAME),
        export_request(_marked(CALL, foreign), "openinference.instrumentation.openai"),
        export_request(_marked(EVENT, own), wire.SCOPE_NAME),
        *in_each_key(CALL, foreign, NAMED, "openinference.instrumentation.openai", some),
        *in_each_key(EVENT, own, NAMED, wire.SCOPE_NAME, some),
    )


def everything(kinds: int | None = None) -> tuple[Message, ...]:
    """The spans, and every other signal."""
    return (*spans(kinds), otlp_canaries.logs(), otlp_canaries.metrics())
