"""Whatever stands under whichever known key, of whichever type: no byte of it leaves."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from tests.kit.spans import START_NS

from infraprism.exporter.encoder import request_bytes, span_bytes
from infraprism.processor import convert, to_event
from infraprism.processor.dialects import DIALECTS
from infraprism.schema import fields

# Only what the application says about itself, through our own keys, may be any text.
ATTRIBUTION = {fields.ENTITY_TYPE.key, fields.ENTITY_ID.key, fields.SESSION_ID.key}
KEYS = sorted({key for each in DIALECTS for key in (*each.slots, *each.json_texts, *each.signs)} - ATTRIBUTION)
CALLS = [
    (scope, key, operation)
    for dialect in DIALECTS
    for scope in dialect.scopes or ("anybody",)
    for key, slot in dialect.slots.items()
    if slot.position == 0
    for operation in dialect.operations
]
"""The scope, and the key and value of an operation, of every kind of call of every dialect."""
# No model, identifier of a session or tag has a space and an exclamation mark, and no code upper case.
WORD = "CANARY prompt!"
TEXTS = st.sampled_from(
    [
        WORD,
        f"{WORD}\n{WORD}",
        WORD * 100,
        f"openai/{WORD}",
        f"https://{WORD}.openai.com/{WORD}",
        f"Error code: 429 - {WORD}",
        f"openai.{WORD}Error",
        json.dumps({"input": WORD, "model": WORD, "usage": {"prompt_tokens": WORD}}),
        str({"input": WORD, "prompt_tokens_details": {"cached_tokens": WORD}}),
        "[" * 5000,
        '{"a":' * 700,
        '{"input": NaN, "output": 1e999, "total": -1}',
    ]
)
# Numbers that no field of an event can hold.
NUMBERS = st.sampled_from([10**13 + 777777, -777777, 0.777777, float("nan"), float("inf"), 10**400])
VALUES = st.recursive(
    TEXTS | NUMBERS | TEXTS.map(str.encode) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def _span(attributes: dict[str, Any], scope: str, text: str) -> ReadableSpan:
    return ReadableSpan(
        name=WORD,
        context=SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1)),
        attributes=attributes,
        status=Status(StatusCode.ERROR, text),
        start_time=START_NS,
        end_time=START_NS + 1,
        instrumentation_scope=InstrumentationScope(scope),
    )


@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=40),
    st.sampled_from(CALLS),
    TEXTS,
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_value_under_any_known_key_leaves_a_byte_of_a_canary(
    attributes: dict[str, Any], call: tuple[str, str, str], text: str
) -> None:
    scope, key, operation = call
    before = convert.tally.snapshot()["errors"].get("to_event", 0)
    event = to_event(_span({**attributes, key: operation}, scope, text))
    assert convert.tally.snapshot()["errors"].get("to_event", 0) == before
    if event is None:
        return
    sent = request_bytes([span_bytes(event, usage_detail=True)]).lower()
    assert b"canary" not in sent
    assert b"prompt!" not in sent
    assert event.input_tokens is None
    assert event.output_tokens is None
