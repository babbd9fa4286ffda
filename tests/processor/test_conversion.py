"""Conversion of single spans to events: operations, models, usage, cost, errors and attribution."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode
from tests.kit.spans import CALL, START_NS, ended

from infraprism import pricing
from infraprism.attribution.scope import Attribution
from infraprism.dialects import DIALECTS
from infraprism.dialects.engine import MARKER_KEYS
from infraprism.dialects.table import As, Dialect
from infraprism.dialects.values import milliseconds
from infraprism.processor import conversion, event_span, to_event
from infraprism.schema import Event
from infraprism.schema.call_context import SUPPRESSED
from infraprism.schema.fields import MAX_LATENCY_MS, OPERATIONS
from infraprism.schema.usage import Usage


def event(**changed: Any) -> Event:
    attributes = {**CALL, **{key.replace("__", "."): value for key, value in changed.items()}}
    made = to_event(ended({key: value for key, value in attributes.items() if value is not ...}))
    assert made is not None
    return made


def test_a_call_becomes_an_event() -> None:
    span = ended(CALL)
    made = to_event(span)
    assert made is not None
    priced = pricing.price(pricing.PricingRequest("openai", "gpt-4o-mini-2024-07-18", Usage(111, 37), START_NS))
    assert made == Event(
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        timestamp_ns=START_NS,
        model="gpt-4o-mini-2024-07-18",
        provider="openai",
        operation="chat",
        input_tokens=111,
        output_tokens=37,
        latency_ms=1200,
        success=True,
        cost_usd=priced.cost_usd,
        cost_status="priced",
    )
    assert made.cost_usd == Decimal("0.00003885")


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("chat", "chat"),
        ("generate_content", "chat"),
        ("text_completion", "completion"),
        ("embeddings", "embeddings"),
    ],
)
def test_inference_and_embeddings_are_billed(operation: str, name: str) -> None:
    assert event(gen_ai__operation__name=operation).operation == name


@pytest.mark.parametrize(
    "operation",
    [
        "invoke_agent",
        "create_agent",
        "invoke_workflow",
        "execute_tool",
        "plan",
        "retrieval",
        "fetch_response",
        "create_memory",
        "search_memory",
        "agent_step",
        "something new",
        "cHAT",
        "INVOKE_AGENT",
        "ExecuteTool",
    ],
)
def test_no_other_operation_is_billed(operation: Any) -> None:
    assert to_event(ended({**CALL, "gen_ai.operation.name": operation})) is None


@pytest.mark.parametrize("operation", ["", None, ["chat"]])
def test_a_span_that_names_a_model_and_an_output_and_no_operation_is_billed(operation: Any) -> None:
    event = to_event(ended({**CALL, "gen_ai.operation.name": operation}))
    assert event is not None
    assert event.operation == "other"


def test_a_span_without_an_operation_is_not_billed_where_it_lacks_a_model_or_an_output() -> None:
    unnamed = {key: value for key, value in CALL.items() if "operation" not in key}
    for lacking in (".model", "output_tokens"):
        assert to_event(ended({key: value for key, value in unnamed.items() if not key.endswith(lacking)})) is None
    assert to_event(ended({})) is None
    assert to_event(ended({"http.request.method": "POST", "server.address": "api.openai.com"})) is None


def test_spans_of_conventions_without_operation_names_are_events() -> None:
    old = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.prompt_tokens": 111,
        "gen_ai.usage.completion_tokens": 37,
    }
    made = to_event(ended(old))
    assert made is not None
    assert (made.operation, made.provider, made.model) == ("other", "openai", "gpt-4o-mini")
    assert (made.input_tokens, made.output_tokens) == (111, 37)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("gen_ai.provider.name", "gen_ai.system"),
        ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
        ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
        ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        ("openai.response.service_tier", "anthropic.response.service_tier"),
    ],
)
def test_former_attribute_names_are_read_and_the_current_name_takes_precedence(new: str, old: str) -> None:
    good, other = (("azure", "openai"), ("flex", "batch"), (20, 10))[
        0 if "provider" in new else 1 if "tier" in new else 2
    ]
    rest = {key: value for key, value in CALL.items() if key != new}

    def made(*pairs: tuple[str, Any]) -> Event | None:
        found = to_event(ended({**rest, **dict(pairs)}))
        return found and found._replace(trace_id=1, span_id=1)

    expected = made((new, good))
    assert expected is not None
    assert made((old, good)) == expected
    assert made((old, other), (new, good)) == expected
    assert made((new, good), (old, other)) == expected
    assert made((new, None), (old, good)) == expected
    assert made((new, {"a": 1}), (old, good)) == expected
    assert made((old, other)) != expected


@pytest.mark.parametrize(("value", "count"), [(12, 12), ("12", 12), (12.0, 12), (0, 0), (10**12, 10**12)])
def test_token_counts_are_read_from_every_type_of_whole_number(value: Any, count: int) -> None:
    assert event(gen_ai__usage__input_tokens=value).input_tokens == count


@pytest.mark.parametrize(
    "value",
    [
        True,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        10**13,
        "-1",
        "1e3",
        "¹²",
        "9" * 5000,
        "",
        b"12",
        None,
        [12],
        {"a": 12},
    ],
)
def test_a_count_that_is_no_whole_number_is_ignored(value: Any) -> None:
    made = event(gen_ai__usage__input_tokens=value)
    assert made.input_tokens is None
    assert made.total_tokens is None


def test_integers_of_other_libraries_are_counts() -> None:
    class Integer:
        def __index__(self) -> int:
            return 12

    attributes: dict[str, Any] = {**CALL, "gen_ai.usage.input_tokens": Integer()}
    made = to_event(ReadableSpan("chat", context=ended(CALL).context, attributes=attributes, start_time=START_NS))
    assert made is not None
    assert made.input_tokens == 12


def test_without_usage_there_is_no_cost_and_the_status_is_no_usage() -> None:
    made = event(gen_ai__usage__input_tokens=..., gen_ai__usage__output_tokens=...)
    assert (made.input_tokens, made.output_tokens, made.total_tokens) == (None, None, None)
    assert (made.cost_usd, made.cost_status) == (None, "no_usage")


def test_a_model_path_is_reduced_to_the_model_and_priced_by_its_provider() -> None:
    path = "projects/acme-7/locations/us-central1/publishers/google/models/gemini-2.5-flash"
    made = event(gen_ai__provider__name="gcp.vertex_ai", gen_ai__response__model=path, server__address=...)
    assert (made.model, made.provider, made.cost_status) == ("gemini-2.5-flash", "google_vertex", "priced")
    assert "acme" not in repr(made)


def test_an_unknown_model_has_no_cost_and_the_status_is_unknown_model() -> None:
    made = event(gen_ai__response__model="no-such-model-1")
    assert (made.cost_usd, made.cost_status) == (None, "unknown_model")


def test_an_unknown_service_tier_is_not_priced_as_standard() -> None:
    made = event(openai__response__service_tier="scale")
    assert (made.cost_usd, made.cost_status, made.service_tier) == (None, "incomplete", None)


def test_the_cost_reported_by_the_provider_takes_precedence() -> None:
    made = event(infraprism__reported_cost_usd="0.00012345")
    assert (made.cost_usd, made.cost_status) == (Decimal("0.00012345"), "provider_reported")
    assert event(infraprism__reported_cost_usd="1e-05").cost_usd == Decimal("0.00001")


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity", "text", "1" * 60, True, None, b"1", "1e999999999"])
def test_an_invalid_reported_cost_is_ignored(value: Any) -> None:
    assert event(infraprism__reported_cost_usd=value).cost_status == "priced"


def test_an_error_in_pricing_does_not_lose_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pricing, "price", fail)
    before = conversion.delivery_stats.snapshot()["errors"].get("price", 0)
    made = event()
    assert (made.cost_usd, made.cost_status, made.input_tokens) == (None, "incomplete", 111)
    assert conversion.delivery_stats.snapshot()["errors"]["price"] == before + 1


def test_cache_tokens_are_added_to_an_input_count_that_excludes_them() -> None:
    made = event(
        gen_ai__usage__input_tokens=10,
        gen_ai__usage__cache_read__input_tokens=50,
        gen_ai__usage__cache_write__input_tokens=5,
    )
    assert (made.input_tokens, made.cache_read_tokens, made.cache_write_tokens) == (65, 50, 5)
    assert event(gen_ai__usage__input_tokens=55, gen_ai__usage__cache_read__input_tokens=50).input_tokens == 55


def test_reasoning_tokens_are_added_to_an_output_count_that_excludes_them() -> None:
    assert event(gen_ai__usage__output_tokens=10, gen_ai__usage__reasoning__output_tokens=50).output_tokens == 60
    assert event(gen_ai__usage__output_tokens=50, gen_ai__usage__reasoning__output_tokens=50).output_tokens == 50


def test_the_response_model_takes_precedence_unless_it_is_no_model_name() -> None:
    assert event(gen_ai__response__model="has spaces").model == "gpt-4o-mini"
    assert event(gen_ai__response__model=...).model == "gpt-4o-mini"
    assert event(gen_ai__response__model=..., gen_ai__request__model="not a model").model == "invalid"
    assert event(gen_ai__response__model=..., gen_ai__request__model=...).model == "invalid"


def test_usage_detail_is_read() -> None:
    made = event(
        gen_ai__usage__cache_read__input_tokens=40,
        gen_ai__usage__cache_write__input_tokens=30,
        anthropic__usage__cache_creation__ephemeral_1h_input_tokens=20,
        gen_ai__usage__reasoning__output_tokens=16,
        gen_ai__usage__audio__input_tokens=3,
        gen_ai__usage__audio__output_tokens=4,
        infraprism__usage__web_searches=2,
        gen_ai__response__time_to_first_chunk=0.2304,
        gen_ai__request__stream=True,
        openai__response__service_tier="default",
    )
    assert made.cache_read_tokens == 40
    assert made.cache_write_tokens == 30
    assert made.cache_write_1h_tokens == 20
    assert made.reasoning_tokens == 16
    assert made.audio_input_tokens == 3
    assert made.audio_output_tokens == 4
    assert made.web_searches == 2
    assert made.time_to_first_token_ms == 230
    assert made.streamed is True
    assert made.service_tier == "standard"


@pytest.mark.parametrize(("duration_ms", "latency_ms"), [(0, 0), (0.4, 0), (0.6, 1), (-5, 0), (10**12, MAX_LATENCY_MS)])
def test_latency_is_in_whole_milliseconds_and_never_negative(duration_ms: float, latency_ms: int) -> None:
    made = to_event(ended(CALL, duration_ms=duration_ms))
    assert made is not None
    assert made.latency_ms == latency_ms


def test_a_suppressed_span_is_no_event() -> None:
    assert to_event(ended(CALL), SUPPRESSED) is None


def test_span_attribution_overrides_the_start_context_and_that_the_resource() -> None:
    resource = {
        "service.name": "shop",
        "infraprism.entity_type": "team",
        "infraprism.entity_id": "of-resource",
        "infraprism.session_id": "of-resource",
        "infraprism.tags.a": "of-resource",
        "infraprism.tags.b": "of-resource",
    }
    start_context = Attribution("customer", "of-context", None, (("b", "of-context"), ("c", "of-context")))
    alone = to_event(ended(CALL, resource=resource))
    assert alone is not None
    assert (alone.entity_type, alone.entity_id, alone.session_id) == ("team", "of-resource", "of-resource")
    recorded = to_event(ended(CALL, resource=resource), start_context)
    assert recorded is not None
    assert (recorded.entity_type, recorded.entity_id, recorded.session_id) == ("customer", "of-context", "of-resource")
    assert dict(recorded.tags) == {"a": "of-resource", "b": "of-context", "c": "of-context"}
    own = {
        "infraprism.entity_type": "project",
        "infraprism.entity_id": "of-span",
        "infraprism.tags.c": "of-span",
        "infraprism.tags.bad key": "x",
    }
    own_event = to_event(ended({**CALL, **own}, resource=resource), start_context)
    assert own_event is not None
    assert (own_event.entity_type, own_event.entity_id, own_event.session_id) == ("project", "of-span", "of-resource")
    assert dict(own_event.tags) == {"a": "of-resource", "b": "of-context", "c": "of-span"}


def test_an_event_span_is_converted_to_the_same_event() -> None:
    made = to_event(ended({**CALL, "error.type": "429"}, status=Status(StatusCode.ERROR, "CANARY")))
    assert made is not None
    span = event_span(made, usage_detail=True)
    assert to_event(span) == made
    assert span.status.description is None
    assert (span.start_time, span.end_time) == (START_NS, START_NS + 1_200_000_000)
    assert dict(span.resource.attributes) == {}
    assert (span.events, span.links, span.parent) == ((), (), None)
    assert span.name == "chat gpt-4o-mini-2024-07-18"


def test_objects_without_span_context_or_attributes_are_no_events() -> None:
    class Bare:
        context = attributes = status = resource = events = start_time = end_time = parent = None

    assert to_event(Bare()) is None  # type: ignore[arg-type]
    assert to_event(None) is None  # type: ignore[arg-type]
    assert to_event(object()) is None  # type: ignore[arg-type]


def test_an_object_with_the_attributes_of_a_span_is_converted() -> None:
    real = ended(CALL)

    class Bare:
        context = real.context
        attributes: ClassVar = dict(CALL)
        status = resource = events = start_time = end_time = parent = None

    made = to_event(Bare())  # type: ignore[arg-type]
    assert made is not None
    assert (made.model, made.latency_ms, made.success) == ("gpt-4o-mini-2024-07-18", 0, True)
    assert made.timestamp_ns > START_NS


def test_every_dialect_maps_to_known_operations_and_its_markers_are_marker_keys() -> None:
    for dialect in DIALECTS:
        assert set(dialect.operations.values()) | {dialect.unnamed_operation or "other"} <= set(OPERATIONS)
        assert dialect.required_any <= MARKER_KEYS


def test_a_dialect_has_its_own_units_and_only_known_fields() -> None:
    made = Dialect("x", frozenset({"k"}), {}, {"time_to_first_token_ms": (As("ttft", milliseconds),)})
    assert made.slots["ttft"].reader(12.4) == 12
    with pytest.raises(ValueError, match="no field"):
        Dialect("x", frozenset({"k"}), {}, {"prompt": ("k",)})
