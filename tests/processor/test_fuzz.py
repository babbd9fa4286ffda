"""Property tests: a span may have any value anywhere; an event only has values that the field table allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from tests.kit.spans import CALL, START_NS, ended

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import Dialect, SpanFields
from infraprism.processor import conversion, to_event
from infraprism.schema import Event, fields, wire

KNOWN = sorted({key for dialect in DIALECTS for key in dialect.slots} | set(fields.BY_KEY) | {"infraprism.tags.a"})
# Spaces, upper case and a newline are legal in no field of the table.
CANARY = "CANARY Secret\nPrompt"
# At every path of a JSON string that a dialect reads.
JSON_CANARY = json.dumps(
    {
        path.rpartition(".")[2]: CANARY
        for dialect in DIALECTS
        for path in dialect.slots
        if path.startswith(tuple(dialect.json_texts))
    }
)
GOOD = (
    "chat",
    "embeddings",
    "openai",
    "gpt-4o",
    "12",
    "0.5",
    "true",
    "flex",
    "429",
    "customer",
    "priced",
    "RateLimitError",
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 1000)
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(GOOD)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
ATTRIBUTES = st.dictionaries(st.sampled_from(KNOWN) | st.text(), VALUES, max_size=20)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_closed(event: Event) -> None:
    for key, value in wire.attributes(event, usage_detail=True).items():
        if key.startswith(fields.TAG_PREFIX):
            assert fields.TAG_KEY.fullmatch(key.removeprefix(fields.TAG_PREFIX))
            assert type(value) is str
            assert fields.TAGS.regex.fullmatch(value)
            continue
        field = fields.BY_KEY[key]
        if type(value) is str:
            assert field.regex.fullmatch(value)
        elif type(value) is int:
            assert 0 <= value <= field.maximum
        else:
            assert type(value) is bool
    assert 0 <= event.timestamp_ns < 2**63


def span_of(attributes: Any, span_class: type[ReadableSpan] = ReadableSpan, **changed: Any) -> ReadableSpan:
    values: dict[str, Any] = {
        "name": "chat",
        "context": SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1)),
        "resource": Resource({}),
        "attributes": attributes,
        "start_time": START_NS,
        "end_time": START_NS + 1,
    }
    return span_class(**{**values, **changed})


@given(ATTRIBUTES, st.booleans())
@QUICK
def test_no_attributes_raise_or_yield_an_illegal_value(attributes: dict[str, Any], call: bool) -> None:
    before = conversion.delivery_stats.snapshot()["errors"].get("to_event", 0)
    event = to_event(span_of({**CALL, **attributes} if call else attributes))
    assert conversion.delivery_stats.snapshot()["errors"].get("to_event", 0) == before
    if event is not None:
        assert_closed(event)


@given(ATTRIBUTES)
@QUICK
def test_no_attributes_of_an_sdk_span_yield_an_illegal_value(attributes: dict[str, Any]) -> None:
    event = to_event(ended({**CALL, **{key: value for key, value in attributes.items() if key}}))
    if event is not None:
        assert_closed(event)


@given(
    st.one_of(st.none(), st.integers(), st.floats(), st.text()),
    st.one_of(st.none(), st.integers(), st.floats(), st.text()),
    st.sampled_from([None, Resource({}), Resource({"infraprism.entity_type": "team", "infraprism.entity_id": CANARY})]),
    st.sampled_from([None, "text", Status(StatusCode.ERROR, CANARY), Status(StatusCode.OK)]),
    st.sampled_from([(), None, (SpanEvent("exception", {"exception.type": CANARY}),), (SpanEvent("exception", None),)]),
)
@QUICK
def test_no_time_resource_status_or_span_event_raises(
    start: Any, end: Any, resource: Any, status: Any, events: Any
) -> None:
    class Span(ReadableSpan):
        """A span that may have no resource, which the SDK's constructor prevents."""

        @property
        def resource(self) -> Any:
            return resource

    values: dict[str, Any] = {"start_time": start, "end_time": end, "status": status, "events": events}
    event = to_event(span_of(CALL, span_class=Span, **values))
    assert event is not None
    assert_closed(event)


def _canaried(value: Any, dialect: Dialect) -> ReadableSpan:
    """A call of the dialect, with the value in every attribute of any dialect."""
    others = [other for other in DIALECTS if other is not dialect]
    markers_of_others = (
        frozenset().union(*(other.required_any | other.exclusive_keys for other in others)) - dialect.slots.keys()
    )
    everywhere = dict.fromkeys(KNOWN, value) | {"gen_ai.input.messages": value, CANARY: value}
    operation_key = next(key for key, slot in dialect.slots.items() if slot.position == slot.rank == 0)
    fixed = {
        operation_key: next(iter(dialect.operations)),
        fields.COST_STATUS.key: None,
        **dict.fromkeys(markers_of_others),
    }
    if dialect.needs:
        # A call has at least one of these attributes. The value is a string, but not one that may leave.
        fixed[next(key for key, slot in dialect.slots.items() if slot.position in dialect.needed)] = CANARY
    scope = (*dialect.scopes, CANARY)[0]
    return span_of(
        {key: each for key, each in {**everywhere, **fixed}.items() if each is not None},
        name=CANARY,
        kind=SpanKind.CLIENT,
        context=SpanContext(
            1, 1, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("canary", "canary-value")])
        ),
        resource=Resource({"service.name": CANARY, **{key: value for key in KNOWN if type(value) is str}}),
        status=Status(StatusCode.ERROR, CANARY),
        events=[
            SpanEvent(CANARY, {CANARY: CANARY}),
            SpanEvent("exception", {"exception.type": CANARY, "exception.message": CANARY}),
        ],
        links=[Link(SpanContext(2, 2, is_remote=True), {CANARY: CANARY})],
        instrumentation_scope=InstrumentationScope(scope, CANARY, CANARY, {CANARY: CANARY}),
    )


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "value",
    [CANARY, [CANARY], {"a": CANARY}, {CANARY: {"b": [CANARY]}}, CANARY.encode(), (CANARY, None), JSON_CANARY],
    ids=repr,
)
def test_a_canary_anywhere_on_a_span_is_in_no_event(value: Any, dialect: Dialect) -> None:
    event = to_event(_canaried(value, dialect))
    assert event is not None
    exported = repr(event) + repr(wire.attributes(event, usage_detail=True)) + event.name
    assert "canary" not in exported.lower()
    assert event.model == "invalid"


@given(st.sampled_from(KNOWN), st.text(alphabet="abcdefghij", min_size=12, max_size=20))
@QUICK
def test_a_lower_case_word_is_only_exported_as_model_identifier_or_tag(key: str, text: str) -> None:
    event = to_event(span_of({**CALL, key: text, "infraprism.entity_type": "team"}))
    named = {SpanFields._fields.index(name) for name in ("request_model", "response_model", "entity_id", "session_id")}
    allowed = {key for dialect in DIALECTS for key, slot in dialect.slots.items() if slot.position in named}
    allowed |= {"infraprism.tags.a"}
    if event is not None and key not in allowed:
        assert text not in repr(event)
