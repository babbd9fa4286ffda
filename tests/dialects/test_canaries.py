"""Whatever stands under whichever known key, of whichever type: no byte of it leaves."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from tests.kit.spans import START_NS

from infraprism.dialects import DIALECTS
from infraprism.exporter.preview import as_json
from infraprism.processor import conversion, event_span, to_event
from infraprism.schema import Event, fields
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE
from infraprism.schema.otlp_encoder import request_bytes, span_bytes

# Only what the application says about itself, through our own keys, may be any text.
ATTRIBUTION = {fields.ENTITY_TYPE.key, fields.ENTITY_ID.key, fields.SESSION_ID.key}
OURS = {field.key for field in fields.FIELDS if field.kind != "tags"}
KEYS = sorted(
    {key for each in DIALECTS for key in (*each.slots, *each.json_texts, *each.marker_keys())}.union(
        {"server.port", "openai.api.type", fields.TAG_PREFIX + "CANARY prompt!"}
    ).difference(ATTRIBUTION, OURS)
)
CALLS = [
    (scope, key, operation)
    for dialect in DIALECTS
    for scope in dialect.scopes or ("anybody",)
    for key, slot in dialect.slots.items()
    if slot.position == 0
    for operation in dialect.operations
] + [(INSTRUMENTATION_SCOPE, "gen_ai.operation.name", operation) for operation in ("chat", "embeddings")]
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


class Text(str):
    """A text of a subclass, as client packages make them, with more to say than the text itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return WORD

    def lower(self) -> str:
        return WORD

    def __format__(self, spec: str) -> str:
        return WORD


class Number:
    """A number of another library: it is counted by its index, and printed as its owner likes."""

    def __index__(self) -> int:
        return 10**13 + 777777

    def __str__(self) -> str:
        return WORD

    __repr__ = __str__


class Hostile:
    """An object that fails whatever is asked of it, and says why."""

    def __fail(self, *_: object) -> Any:
        raise RuntimeError(WORD)

    __str__ = __index__ = __int__ = __float__ = __bool__ = __len__ = __fail
    __iter__ = __getitem__ = __contains__ = __lt__ = __le__ = __gt__ = __ge__ = __fail


# Numbers that no field of an event can hold, and a fraction, which only a cost can be.
NUMBERS = st.sampled_from([10**13 + 777777, -777777, -0.777777, 0.5, float("nan"), float("inf"), 10**400, True])
OTHERS = st.sampled_from([None, Number(), Text(WORD), Text("-777777"), "-777777", WORD * 10_000])
VALUES = st.recursive(
    TEXTS | NUMBERS | OTHERS | TEXTS.map(str.encode),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2) | st.tuples(inner),
    max_leaves=4,
)


def _span(attributes: dict[str, Any], scope: str, text: str) -> ReadableSpan:
    """A span with a text in each place that is no attribute."""
    stated = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("note", "CANARY")]))
    return ReadableSpan(
        name=WORD,
        context=stated,
        parent=stated,
        resource=Resource({"service.name": WORD, "gen_ai.agent.name": WORD}),
        attributes=attributes,
        events=[SpanEvent("exception", {"exception.type": text, "exception.message": text}), SpanEvent(text)],
        links=[Link(stated, {"note": text})],
        status=Status(StatusCode.ERROR, text),
        start_time=START_NS,
        end_time=START_NS + 1,
        instrumentation_scope=InstrumentationScope(scope, WORD, WORD, {"note": WORD}),
    )


def _left(event: Event) -> bytes:
    """Everything that is made of an event on its way out, by any of our own parts or of the SDK's."""
    encoded = span_bytes(event, usage_detail=True)
    as_span = event_span(event, usage_detail=True)
    ways = (
        as_json(encoded),
        repr(event),
        as_span.to_json(),
        repr(as_span.context),
        repr(conversion.delivery_stats.snapshot()),
    )
    return request_bytes([encoded]) + encode_spans([as_span]).SerializeToString() + "".join(ways).encode()


@pytest.fixture(scope="module")
def logged() -> Iterator[list[str]]:
    """What was logged, by anybody."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield texts
    logging.getLogger().removeHandler(handler)


@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=40),
    st.sampled_from(CALLS),
    TEXTS,
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_value_under_any_known_key_leaves_a_byte_of_a_canary(
    logged: list[str], attributes: dict[str, Any], call: tuple[str, str, str], text: str
) -> None:
    scope, key, operation = call
    before = conversion.delivery_stats.snapshot()["errors"].get("to_event", 0)
    event = to_event(_span({**attributes, key: operation}, scope, text))
    assert conversion.delivery_stats.snapshot()["errors"].get("to_event", 0) == before
    assert not any("canary" in line.lower() for line in logged)
    if event is None:
        return
    left = _left(event).lower()
    assert b"canary" not in left
    assert b"prompt!" not in left
    assert b"777777" not in left
    assert event.input_tokens is None
    assert event.output_tokens is None


@given(st.dictionaries(st.sampled_from(sorted(OURS - ATTRIBUTION)), VALUES), TEXTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_span_that_says_it_is_an_event_leaves_with_nothing_that_an_event_cannot_hold(
    logged: list[str], attributes: dict[str, Any], text: str
) -> None:
    spoken = {fields.COST_STATUS.key: "priced", fields.SUCCESS.key: True, **attributes}
    event = to_event(_span(spoken, "infraprism", text))
    assert not any("canary" in line.lower() for line in logged)
    if event is not None:
        left = _left(event).lower()
        assert b"canary" not in left
        assert b"prompt!" not in left


@pytest.mark.parametrize("key", ["gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.response.id"])
def test_a_value_that_fails_when_it_is_looked_at_is_counted_and_not_repeated(logged: list[str], key: str) -> None:
    event = to_event(_span({"gen_ai.operation.name": "chat", key: Hostile()}, "anybody", WORD))
    assert event is None or b"CANARY" not in _left(event)
    assert not any("CANARY" in line for line in logged)
    assert "CANARY" not in repr(conversion.delivery_stats.snapshot())


def test_every_key_of_every_table_and_every_kind_of_value_is_among_them() -> None:
    for dialect in DIALECTS:
        assert {
            *dialect.slots,
            *dialect.json_texts,
            *dialect.exclusive_keys,
            *dialect.required_any,
        } - ATTRIBUTION - OURS <= set(KEYS)
    assert {scope for scope, _, _ in CALLS} >= {scope for dialect in DIALECTS for scope in dialect.scopes}
    assert not re.fullmatch(fields.MODEL.pattern or "", WORD)
