"""The quick reader of our own spans says what the engine says of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infraprism.instrumentation import conventions
from infraprism.processor.dialects import engine, own
from infraprism.processor.once import OUR_SCOPE
from infraprism.schema.fields import MAX_TOKENS

_KEYS = sorted(value for name, value in vars(conventions).items() if name.isupper())
_COUNTS = st.integers(-2, 400) | st.integers(MAX_TOKENS - 1, MAX_TOKENS + 2)
_TEXTS = st.sampled_from(["chat", "embeddings", "execute_tool", "gpt-4o", "default", "flex", "", "x" * 513])
_VALUES = _COUNTS | _TEXTS | st.booleans() | st.floats() | st.none() | st.lists(st.integers(), max_size=2)
_OURS: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "openai.api.type": "chat_completions",
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.stream": True,
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.usage.reasoning.output_tokens": 16,
    "openai.response.service_tier": "flex",
    "infraprism.reported_cost_usd": "0.00125",
}


@given(changed=st.dictionaries(st.sampled_from([*_KEYS, "infraprism.tags.a", "session.id"]), _VALUES, max_size=6))
def test_a_span_of_ours_reads_the_same_whatever_stands_on_it(changed: dict[str, Any]) -> None:
    attributes = {**_OURS, **changed}

    assert own.read(attributes) == engine.read(attributes, OUR_SCOPE)


def test_what_our_instrumentation_writes_takes_the_quick_way(monkeypatch: Any) -> None:
    def slow(*_: object) -> None:
        raise AssertionError("the engine was asked")

    expected = engine.read(_OURS, OUR_SCOPE)
    monkeypatch.setattr(engine, "read", slow)
    anthropic = {**_OURS, "anthropic.response.service_tier": "standard"}
    del anthropic["openai.response.service_tier"]

    assert own.read(_OURS) == expected
    assert own.read(anthropic) is not None


def test_every_key_that_our_instrumentation_writes_is_known() -> None:
    known = {*own._KEYS, own._OTHER_TIER, "server.port", "openai.api.type"}

    assert set(_KEYS) <= known
