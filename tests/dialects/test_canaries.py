"""No value of any type under any known key is exported, not even a byte of it."""

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

# Only the application's attribution, through InfraPrism's own keys, can be any text.
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
    for scope in dialect.scopes or ("another.scope",)
    for key, slot in dialect.slots.items()
    if slot.position == 0
    for operation in dialect.operations
] + [(INSTRUMENTATION_SCOPE, "gen_ai.operation.name", operation) for operation in ("chat", "embeddings")]
"""The scope, and the key and value of an operation, of every kind of call of every dialect."""
# A model, session id or tag has no space and no exclamation mark, and a code no upper case.
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
    """A str subclass, as in client packages, with methods that return other texts."""

    __slots__ = ()

    def __str__(self) -> str:
        return WORD

    def lower(self) -> str:
        return WORD

    def __format__(self, spec: str) -> str:
        return WORD


class Number:
    """A number of another library, with an index and a text of its own."""

    def __index__(self) -> int:
        return 10**13 + 777777

    def __str__(self) -> str:
        return WORD

    __repr__ = __str__


class Hostile:
    """An object with methods that all raise, with content in the error."""

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
    """A span with a text in every field outside its attributes."""
    context = SpanContext(
        1, 1, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("note", "CANARY")])
    )
    return ReadableSpan(
        name=WORD,
        context=context,
        parent=context,
        resource=Resource({"service.name": WORD, "gen_ai.agent.name": WORD}),
        attributes=attributes,
        events=[SpanEvent("exception", {"exception.type": text, "exception.message": text}), SpanEvent(text)],
        links=[Link(context, {"note": text})],
        status=Status(StatusCode.ERROR, text),
        start_time=START_NS,
        end_time=START_NS + 1,
        instrumentation_scope=InstrumentationScope(scope, WORD, WORD, {"note": WORD}),
    )


def _outputs(event: Event) -> bytes:
    """Everything that InfraPrism and the SDK make of an event: encoded, as a span, and as text."""
    encoded = span_bytes(event, usage_detail=True)
    as_span = event_span(event, usage_detail=True)
    texts = (
        as_json(encoded),
        repr(event),
        as_span.to_json(),
        repr(as_span.context),
        repr(conversion.delivery_stats.snapshot()),
    )
    return request_bytes([encoded]) + encode_spans([as_span]).SerializeToString() + "".join(texts).encode()


@pytest.fixture(scope="module")
def logged() -> Iterator[list[str]]:
    """All log records, as texts."""
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
def test_no_value_under_any_known_key_is_exported(
    logged: list[str], attributes: dict[str, Any], call: tuple[str, str, str], text: str
) -> None:
    scope, key, operation = call
    before = conversion.delivery_stats.snapshot()["errors"].get("to_event", 0)
    event = to_event(_span({**attributes, key: operation}, scope, text))
    assert conversion.delivery_stats.snapshot()["errors"].get("to_event", 0) == before
    assert not any("canary" in line.lower() for line in logged)
    if event is None:
        return
    output = _outputs(event).lower()
    assert b"canary" not in output
    assert b"prompt!" not in output
    assert b"777777" not in output
    assert event.input_tokens is None
    assert event.output_tokens is None


@given(st.dictionaries(st.sampled_from(sorted(OURS - ATTRIBUTION)), VALUES), TEXTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_span_that_claims_to_be_an_event_exports_only_valid_values(
    logged: list[str], attributes: dict[str, Any], text: str
) -> None:
    attributes_of_event = {fields.COST_STATUS.key: "priced", fields.SUCCESS.key: True, **attributes}
    event = to_event(_span(attributes_of_event, "infraprism", text))
    assert not any("canary" in line.lower() for line in logged)
    if event is not None:
        output = _outputs(event).lower()
        assert b"canary" not in output
        assert b"prompt!" not in output


@pytest.mark.parametrize("key", ["gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.response.id"])
def test_a_value_that_raises_when_it_is_read_is_counted_and_not_repeated(logged: list[str], key: str) -> None:
    event = to_event(_span({"gen_ai.operation.name": "chat", key: Hostile()}, "another.scope", WORD))
    assert event is None or b"CANARY" not in _outputs(event)
    assert not any("CANARY" in line for line in logged)
    assert "CANARY" not in repr(conversion.delivery_stats.snapshot())


def test_the_keys_and_scopes_of_all_tables_are_tested() -> None:
    for dialect in DIALECTS:
        assert {
            *dialect.slots,
            *dialect.json_texts,
            *dialect.exclusive_keys,
            *dialect.required_any,
        } - ATTRIBUTION - OURS <= set(KEYS)
    assert {scope for scope, _, _ in CALLS} >= {scope for dialect in DIALECTS for scope in dialect.scopes}
    assert not re.fullmatch(fields.MODEL.pattern or "", WORD)
