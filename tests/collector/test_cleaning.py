"""A span that passed the real collector: what is kept, and that it is the same event as in the process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from tests.collector.conftest import CALL, Route
from tests.collector.payloads import SCRATCH
from tests.collector.span_variations import mixed, variations
from tests.kit.otlp_canaries import export_request, pairs, span
from tests.kit.otlp_spans import attributes, readable_spans
from tests.kit.raw_usage import CASES, recorded

from infraprism.processor import to_event
from infraprism.processor.event_span import event_span
from infraprism.schema import Event, fields

ATTRIBUTED = {
    "infraprism.entity_type": "team",
    "infraprism.entity_id": "search",
    "infraprism.session_id": "session 1",
    "infraprism.tags.feature": "chatbot",
}
LANGFUSE = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "gpt-4o-mini",
    "langfuse.observation.usage_details": '{"input": 111, "output": 37}',
    **ATTRIBUTED,
}


def _one(groups: list[ScopeSpans]) -> Span:
    (group,) = groups
    (only,) = group.spans
    return only


def _kept(route: Route, attributes_sent: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return attributes(_one(route.through(export_request([span(attributes_sent)], resource=resource))).attributes)


def _events(*requests: ExportTraceServiceRequest) -> dict[str, Event]:
    return {event.id: event for found in readable_spans(*requests) if (event := to_event(found)) is not None}


def _again(groups: list[ScopeSpans]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=groups)])


def test_a_cleaned_span_is_the_same_event_as_in_the_process(route: Route) -> None:
    request = export_request([*variations(), *mixed(800, seed=7)])
    expected = _events(request)
    cleaned = _events(_again(route.through(request)))
    assert len(expected) > 1000
    dropped = [found.attributes for found in readable_spans(request) if (e := to_event(found)) and e.id not in cleaned]
    assert [sent for sent in dropped if not _names_no_call(sent or {})] == []
    assert set(cleaned) <= set(expected)
    expected = {name: event for name, event in expected.items() if name in cleaned}
    differences = _differences(request, expected, cleaned)
    assert {difference for difference in differences if not _is_given_up(*difference)} == set()
    assert {name for name, *_ in differences} == set(GIVEN_UP)


def _names_no_call(sent: Mapping[str, object]) -> bool:
    """Whether a span has neither a valid operation nor a valid model: the Collector drops it, the process does not."""
    is_named = isinstance(sent.get("gen_ai.operation.name"), str)
    return not is_named and re.fullmatch(fields.MODEL.re2, str(sent.get("gen_ai.request.model"))) is None


GIVEN_UP = ("cost_usd", "cost_status")
"""A whole number as reported cost is no amount in the process; next to a duration that is NaN it becomes a text of
digits, and is one."""


def _is_given_up(
    name: str, _: object, __: object, attributes_sent: tuple[tuple[str, object], ...], ___: object
) -> bool:
    sent = dict(attributes_sent)
    duration = sent.get("gen_ai.response.time_to_first_chunk")
    return name in GIVEN_UP and type(sent["infraprism.reported_cost_usd"]) is int and duration != duration  # noqa: PLR0124


def _differences(
    request: ExportTraceServiceRequest, expected: dict[str, Event], cleaned: dict[str, Event]
) -> list[tuple[Any, ...]]:
    sent = {event.id: found for found in readable_spans(request) if (event := to_event(found)) is not None}
    return [
        (name, here, there, tuple((sent[event.id].attributes or {}).items()), sent[event.id].status.description)
        for event in expected.values()
        for name, here, there in zip(event._fields, event, cleaned[event.id], strict=True)
        if here != there
    ]


@pytest.mark.parametrize("dialect", ["logfire", "langfuse"])
def test_usage_that_is_unknown_leaves_a_call_incomplete_on_both_routes(route: Route, dialect: str) -> None:
    for usage, _, _, is_unpriced in CASES:
        scope, sent = recorded(dialect, usage)
        request = export_request([span(sent)], scope)
        groups = route.through(request)
        (there,), (here,) = _events(_again(groups)).values(), _events(request).values()
        assert (there.cost_status, there.cost_usd) == (here.cost_status, here.cost_usd), usage
        if is_unpriced:
            assert there.cost_status == "incomplete"
        if usage == {}:
            assert there.cost_status == "priced"
        assert "some_new" not in str(groups)


def test_attribution_of_the_resource_applies_to_spans_without_their_own(route: Route) -> None:
    for own in ({}, {"infraprism.entity_type": "customer", "infraprism.entity_id": "acme"}, {"infraprism.tags.b": "2"}):
        request = export_request(
            [span({**CALL, **own})], resource={**ATTRIBUTED, "infraprism.tags.b": "1", "service.name": "x"}
        )
        assert _events(_again(route.through(request))) == _events(request)


def test_whole_numbers_are_identifiers_too(route: Route) -> None:
    numbers = {"infraprism.entity_type": "employee", "infraprism.entity_id": 42, "infraprism.session_id": 7}
    tags = {"infraprism.tags.seats": 5}
    as_text = {"infraprism.entity_id": "42", "infraprism.session_id": "7", "infraprism.tags.seats": "5"}
    expected = {**CALL, **numbers, **as_text}
    assert _kept(route, {**CALL, **numbers, **tags}) == expected
    assert _kept(route, CALL, resource={**numbers, **tags}) == expected


def test_redaction_is_idempotent(route: Route) -> None:
    once = route.through(export_request([*variations()]))
    again = route.through(_again(once))
    by_id = {one.span_id: one for group in once for one in group.spans}
    assert {one.span_id: _as_set(one) for group in again for one in group.spans} == {
        span_id: _as_set(one) for span_id, one in by_id.items()
    }


def _as_set(one: Span) -> tuple[bytes, frozenset[tuple[str, object]]]:
    bare = Span.FromString(one.SerializeToString())
    del bare.attributes[:]
    return bare.SerializeToString(), frozenset((pair.key, pair.value.SerializeToString()) for pair in one.attributes)


def _event(**changes: Any) -> Event:
    whole: dict[str, Any] = {
        "trace_id": 0xABCDEF << 100,
        "span_id": 0xFEDCBA << 40,
        "timestamp_ns": 1_790_000_000_123_456_789,
        "model": "claude-sonnet-4-5",
        "provider": "anthropic",
        "operation": "chat",
        "latency_ms": 1200,
        "success": False,
        "input_tokens": 150,
        "output_tokens": 500,
        "cost_usd": Decimal("0.0065"),
        "cost_status": "priced",
        "entity_type": "customer",
        "entity_id": "Ünïcödé 客户 & <co>",
        "session_id": "s 1",
        "tags": {f"tag-{number}": f'value \\ " {number}' for number in range(fields.MAX_TAGS)},
        "error_type": "rate_limit",
        "error_code": "429",
        "service_tier": "batch",
        "streamed": True,
        **{field.name: 7 for field in fields.USAGE_DETAIL if field.kind == "int"},
    }
    return Event(**{**whole, **changes})


@pytest.mark.parametrize("usage_detail", [True, False])
@pytest.mark.parametrize(
    "event", [_event(), _event(success=True), _event(tags={}, cost_usd=None, input_tokens=None, entity_id=None)]
)
def test_an_event_of_our_own_exporter_passes_unchanged(route: Route, event: Event, usage_detail: bool) -> None:
    sent = encode_spans([event_span(event, usage_detail=usage_detail)])
    (group,) = route.through(ExportTraceServiceRequest.FromString(sent.SerializeToString()))
    assert group.scope == sent.resource_spans[0].scope_spans[0].scope
    assert _as_set(group.spans[0]) == _as_set(sent.resource_spans[0].scope_spans[0].spans[0])


def test_a_span_keeps_its_ids_its_times_its_kind_and_its_status_code(route: Route) -> None:
    sent = span(CALL, kind=Span.SPAN_KIND_INTERNAL, parent_span_id=b"parent!!", flags=0x101, name="a name")
    sent.status.code = Status.STATUS_CODE_ERROR
    sent.links.add(trace_id=b"0" * 16, span_id=b"1" * 8)
    arrived = _one(route.through(export_request([sent])))
    for name in (
        "trace_id",
        "span_id",
        "parent_span_id",
        "flags",
        "kind",
        "start_time_unix_nano",
        "end_time_unix_nano",
    ):
        assert getattr(arrived, name) == getattr(sent, name)
    assert arrived.status == Status(code=Status.STATUS_CODE_ERROR)
    assert arrived.name == "llm_call"
    assert not arrived.links


def test_known_scopes_keep_their_name_and_others_are_forwarded_as_a_sha256(route: Route) -> None:
    def scope_of(name: str) -> str:
        (group,) = route.through(export_request([span(CALL)], scope=name))
        assert not group.scope.version
        return str(group.scope.name)

    assert scope_of("openinference.instrumentation.openai") == "openinference.instrumentation.openai"
    assert scope_of("infraprism.instrumentation") == "infraprism.instrumentation"
    assert scope_of("") == ""
    fingerprint = sha256(b"the-secret-project").hexdigest()
    assert scope_of("the-secret-project") == scope_of(fingerprint) == fingerprint


def test_other_keys_under_our_prefix_are_removed(route: Route) -> None:
    odd = {
        "infraprism.model": "x",
        "infraprism.cost_usd": "1",
        "infraprism.anything": "x",
        "redaction.masked.keys": "x",
    }
    assert _kept(route, {**CALL, **odd, "infraprism.entity_id": "alone"}) == CALL


def test_the_first_value_of_a_duplicate_key_is_kept(route: Route) -> None:
    twice = (
        pairs(CALL)
        + pairs({"gen_ai.request.model": "another", "infraprism.tags.a": "1"})
        + pairs({"infraprism.tags.a": "2"})
    )
    arrived = _one(route.through(export_request([span(twice)])))
    assert sorted((pair.key, pair.value.string_value) for pair in arrived.attributes if "model" in pair.key) == [
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
    ]
    assert [pair.value.string_value for pair in arrived.attributes if "tags" in pair.key] == ["1"]


@pytest.mark.parametrize(
    "held", ["text", ["gen_ai.request.model"], {"gen_ai.usage.input_tokens": 9, "infraprism.tags.x": "y"}]
)
@pytest.mark.parametrize("base", [CALL, {**CALL, **ATTRIBUTED}, LANGFUSE], ids=["bare", "attributed", "langfuse"])
def test_attributes_that_the_statements_use_for_themselves_change_nothing_when_an_app_sends_them(
    route: Route, base: dict[str, Any], held: object
) -> None:
    plain = _kept(route, base)
    assert len(plain) >= len(CALL) - 2
    assert _kept(route, {**dict.fromkeys(SCRATCH, held), **base}) == plain
    assert _kept(route, {**base, **dict.fromkeys(SCRATCH, held)}) == plain


def test_no_more_tags_arrive_than_an_event_may_have(route: Route) -> None:
    many = {f"infraprism.tags.t{number:02}": "x" for number in range(100)}
    assert set(_kept(route, {**CALL, **many})) == {*CALL, *sorted(many)[: fields.MAX_TAGS]}


def test_text_that_is_no_utf8_is_replaced_so_that_the_backend_can_parse_the_request(route: Route) -> None:
    good = export_request([span({**CALL, "infraprism.session_id": "good", "infraprism.tags.a": "tag?"})])
    raw = good.SerializeToString().replace(b"good", b"\xff\xfe\xfd\xfc").replace(b"tag?", b"tag\xff")
    replaced = {"infraprism.session_id": "\n", "infraprism.tags.a": "\n"}
    cleaned = route.through(raw)
    assert attributes(_one(cleaned).attributes) == {**CALL, **replaced}
    (event,) = _events(_again(cleaned)).values()
    assert (event.session_id, event.tags) == (None, ())


@pytest.mark.parametrize(
    "no_call",
    [
        {"http.request.method": "POST", "url.full": "https://api.openai.com/v1/chat/completions"},
        {**CALL, "gen_ai.operation.name": "execute_tool"},
        {"gen_ai.operation.name": ["chat"], "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 9},
        {"infraprism.model": "gpt-4o"},
        {},
    ],
)
def test_a_span_that_is_no_billed_call_does_not_arrive(route: Route, no_call: dict[str, Any]) -> None:
    assert route.through(export_request([span(no_call)])) == []


def test_an_operation_that_only_some_dialects_bill_arrives_as_metadata_and_is_no_event(route: Route) -> None:
    sent = {**CALL, "gen_ai.operation.name": "invoke_agent", "gen_ai.input.messages": "a prompt"}
    arrived = route.through(export_request([span(sent)]))
    assert attributes(_one(arrived).attributes) == {**CALL, "gen_ai.operation.name": "invoke_agent"}
    assert _events(_again(arrived)) == {}
