"""Only known attributes with values of their type are read from a response, whatever it contains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import response_body, streams
from infraprism.instrumentation.llm_call import LLMCall
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.usage_reader import (
    IGNORED,
    Derived,
    Operation,
    StreamEvent,
    Table,
    compile_table,
    read_fields,
)

OPERATIONS = [operation for package in PACKAGES for operation in package.operations.values()]
KEYS = {value for name, value in vars(key).items() if name.isupper()}
NAMES = st.sampled_from(
    (
        *("usage", "model", "id", "type", "message", "response", "response.completed", "error", "code", "cost"),
        *("choices", "x_groq", "cost_in_usd_ticks", "estimated_cost", "total_cost", "is_byok", "total_tokens"),
        *("input_tokens", "prompt_tokens", "prompt_tokens_details", "cached_tokens", "output_tokens", "service_tier"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=8),
    max_leaves=30,
)


def new_call(operation: Operation = OPERATIONS[0]) -> LLMCall:
    return LLMCall(TracerProvider().get_tracer("t").start_span("t"), operation, 1)


@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from(OPERATIONS))
def test_only_known_attributes_with_values_of_their_type_are_read_from_any_response(
    response: Any, operation: Operation
) -> None:
    call = new_call(operation)
    for source in (response, SimpleNamespace(**response) if isinstance(response, dict) and all(response) else response):
        call.on_chunk(source)
        call.on_response(source)
    for name, value in call.attributes.items():
        assert name in KEYS
        if name == key.UNPRICED_USAGE:
            assert value is True
        elif "tokens" in name or name == key.WEB_SEARCHES:
            assert type(value) is int
            assert 0 <= value <= 10**12
        else:
            assert type(value) is str
            assert len(value) <= 400
            assert value.isprintable()
    call.abandon()


class Chunk:
    """A chunk as client packages create it: reading a field that the chunk does not contain runs code."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        raise LookupError if name == "usage" else AttributeError(name)


def test_chunks_are_passed_unchanged_and_the_last_usage_is_recorded() -> None:
    chunks = [
        Chunk(model="gpt-4o", usage=None),
        Chunk(model="gpt-4o", usage=None),
        Chunk(model="gpt-4o"),
        Chunk(usage=SimpleNamespace(prompt_tokens=1, completion_tokens=2)),
        Chunk(usage=None),
        {"usage": None},
        SimpleNamespace(usage=SimpleNamespace(prompt_tokens=3, completion_tokens=4)),
    ]
    call = new_call(next(o for o in OPERATIONS if o.name == "chat" and not o.events))
    stream = SimpleNamespace(response=SimpleNamespace(is_closed=True), _iterator=iter(chunks))
    streams.observe_stream(call, stream)
    assert list(stream._iterator) == chunks
    assert (call.attributes[key.INPUT_TOKENS], call.attributes[key.OUTPUT_TOKENS]) == (3, 4)


@pytest.mark.parametrize(
    ("reported", "text"),
    [(0.00012, "0.00012"), (1e-7, "0.0000001"), (3, "3"), (0, "0"), (float("nan"), None), (-1, None), ("1", None)],
)
def test_a_reported_cost_is_exact(reported: object, text: str | None) -> None:
    found: dict[str, Any] = {}
    read_fields({"usage": {"cost": reported}}, compile_table(OPERATIONS[0].response), found)
    assert found.get(key.REPORTED_COST_USD) == text


def attribute_keys(table: Table) -> list[str]:
    found: list[str] = []
    for target in table.values():
        if isinstance(target, Mapping):
            found += attribute_keys(target)
        elif isinstance(target, Derived):
            found.append(target.target)
        elif isinstance(target, str) and target != IGNORED:
            found.append(target)
    return found


def test_every_attribute_key_of_the_tables_is_a_constant_of_the_conventions_module() -> None:
    for operation in OPERATIONS:
        events: list[StreamEvent] = list(operation.events.values())
        for table in (operation.response, *(event.table for event in events)):
            assert set(attribute_keys(table)) <= KEYS


EVENTS = [
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [{"delta": {"content": 'say "usage" and "error"'}}]},
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [{"delta": {"content": "é\u2028\n"}}], "usage": None},
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=40), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_the_usage_in_the_bytes_of_a_stream_does_not_depend_on_how_they_are_split(sizes: list[int], end: bytes) -> None:
    data = b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + end for event in EVENTS)
    data += b"data: [DONE]" + end
    call = new_call()
    parser = response_body.SSEParser(call, live=True)
    for size in sizes:
        parser.feed(data[:size])
        data = data[size:]
    parser.feed(data)
    parser.end()
    assert call.attributes == {
        key.RESPONSE_ID: "c1",
        key.RESPONSE_MODEL: "gpt-4o-2024-08-06",
        key.INPUT_TOKENS: 5,
        key.OUTPUT_TOKENS: 7,
    }
    call.abandon()


def test_the_buffered_part_of_a_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(response_body, "MAX_BODY_BYTES", 1000)
    call = new_call()
    sse = response_body.SSEParser(call, live=True)
    sse.feed(b"data: ")
    for _ in range(100):
        sse.feed(b"x" * 100)
        assert sum(map(len, sse.parts)) <= 1000
    sse.feed(b'\ndata: {"usage": {"prompt_tokens": 3}}\n')
    assert call.attributes == {key.INPUT_TOKENS: 3}
    json_parser = response_body.JSONParser(call)
    for _ in range(100):
        json_parser.feed(b" " * 100)
        assert sum(map(len, json_parser.parts)) <= 1000
    json_parser.end()
    call.abandon()
