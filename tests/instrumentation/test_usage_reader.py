"""Whatever an answer holds, what is read of it is a known key with a value of its kind."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import response_body, streams
from infraprism.instrumentation.call import Call
from infraprism.instrumentation.providers import PACKAGES
from infraprism.instrumentation.usage_reader import Operation, StreamEvent, Table, read

OPERATIONS = [operation for package in PACKAGES for operation in package.operations.values()]
KEYS = {value for name, value in vars(key).items() if name.isupper()}
NAMES = st.sampled_from(
    (
        *("usage", "model", "id", "type", "message", "response", "response.completed", "error", "code", "cost"),
        *("input_tokens", "prompt_tokens", "prompt_tokens_details", "cached_tokens", "output_tokens", "service_tier"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=8),
    max_leaves=30,
)


def new_call(operation: Operation = OPERATIONS[0]) -> Call:
    return Call(TracerProvider().get_tracer("t").start_span("t"), operation, 1)


@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from(OPERATIONS))
def test_reading_anything_gives_only_known_keys_with_values_of_their_kind(answer: Any, operation: Operation) -> None:
    call = new_call(operation)
    for source in (answer, SimpleNamespace(**answer) if isinstance(answer, dict) and all(answer) else answer):
        call.chunk(source)
        call.answer(source)
    for name, value in call._found.items():
        assert name in KEYS
        if "tokens" in name or name == key.WEB_SEARCHES:
            assert type(value) is int
            assert 0 <= value <= 10**12
        else:
            assert type(value) is str
            assert len(value) <= 400
            assert value.isprintable()
    call.abandoned()


class Chunk:
    """A chunk as a client package makes it: with the fields that the answer had, and code for those it had not."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        raise LookupError if name == "usage" else AttributeError(name)


def test_chunks_pass_untouched_whichever_fields_they_have_and_the_last_usage_counts() -> None:
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
    streams.follow(call, stream)
    assert list(stream._iterator) == chunks
    assert (call._found[key.INPUT_TOKENS], call._found[key.OUTPUT_TOKENS]) == (3, 4)


@pytest.mark.parametrize(
    ("reported", "text"),
    [(0.00012, "0.00012"), (1e-7, "0.0000001"), (3, "3"), (0, "0"), (float("nan"), None), (-1, None), ("1", None)],
)
def test_a_reported_cost_is_kept_to_the_digit(reported: object, text: str | None) -> None:
    found: dict[str, Any] = {}
    read({"usage": {"cost": reported}}, OPERATIONS[0].answer, found)
    assert found.get(key.REPORTED_COST_USD) == text


def tables(table: Table) -> list[str]:
    return [name for target in table.values() for name in ([target] if isinstance(target, str) else tables(target))]


def test_every_key_of_the_tables_is_a_constant_of_the_conventions() -> None:
    for operation in OPERATIONS:
        events: list[StreamEvent] = list(operation.events.values())
        for table in (operation.answer, *(event.table for event in events)):
            assert set(tables(table)) <= KEYS


EVENTS = [
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [{"delta": {"content": 'say "usage" and "error"'}}]},
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [{"delta": {"content": "é\u2028\n"}}], "usage": None},
    {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=40), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_bytes_of_a_stream_tell_the_same_in_whatever_pieces_they_come(sizes: list[int], end: bytes) -> None:
    data = b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + end for event in EVENTS)
    data += b"data: [DONE]" + end
    call = new_call()
    search = response_body._Events(call, live=True)
    for size in sizes:
        search.feed(data[:size])
        data = data[size:]
    search.feed(data)
    search.end()
    assert call._found == {
        key.RESPONSE_ID: "c1",
        key.RESPONSE_MODEL: "gpt-4o-2024-08-06",
        key.INPUT_TOKENS: 5,
        key.OUTPUT_TOKENS: 7,
    }
    call.abandoned()


def test_what_is_held_of_a_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(response_body, "MAX_ANSWER_BYTES", 1000)
    call = new_call()
    events = response_body._Events(call, live=True)
    events.feed(b"data: ")
    for _ in range(100):
        events.feed(b"x" * 100)
        assert sum(map(len, events._pieces)) <= 1000
    events.feed(b'\ndata: {"usage": {"prompt_tokens": 3}}\n')
    assert call._found == {key.INPUT_TOKENS: 3}
    answer = response_body._Answer(call)
    for _ in range(100):
        answer.feed(b" " * 100)
        assert sum(map(len, answer._pieces)) <= 1000
    answer.end()
    call.abandoned()
