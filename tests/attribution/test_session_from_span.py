"""A session that an instrumentation wrote on a span leaves only where the application's owner allows it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.spans import ended

from infraprism.attribution.scope import Attribution
from infraprism.processor import to_event

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
OPENINFERENCE = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"}
WRITTEN: list[dict[str, Any]] = [
    {**CALL, "gen_ai.conversation.id": "conv_1"},
    {**CALL, "session.id": "conv_1"},
    {**CALL, "user.id": "conv_1"},
    {**OPENINFERENCE, "session.id": "conv_1"},
    {**OPENINFERENCE, "session.id": "conv_1", "user.id": "ann"},
    {**OPENINFERENCE, "user.id": "conv_1"},
    {**LANGFUSE, "session.id": "conv_1", "user.id": "ann"},
]


@pytest.mark.parametrize("attributes", WRITTEN)
def test_it_stays_here_unless_it_is_allowed(attributes: dict[str, Any]) -> None:
    event = to_event(ended(attributes))
    assert event is not None
    assert event.session_id is None


@pytest.mark.parametrize("attributes", WRITTEN)
@pytest.mark.parametrize("allowed", ["true", " TRUE ", "1"])
def test_it_is_the_events_session_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any], allowed: str
) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", allowed)
    event = to_event(ended(attributes))
    assert event is not None
    assert event.session_id == "conv_1"


@pytest.mark.parametrize("allowed", ["", "false", "0", "yes please"])
def test_any_other_word_does_not_allow_it(monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", allowed)
    event = to_event(ended(WRITTEN[0]))
    assert event is not None
    assert event.session_id is None


def test_what_the_application_said_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", "true")
    event = to_event(ended(WRITTEN[0]), Attribution(session_id="ours"))
    assert event is not None
    assert event.session_id == "ours"


@pytest.mark.parametrize("value", ["two\nlines", "x" * 257, "", 7, ["a"], {"a": "b"}, b"bytes"])
def test_what_is_no_session_id_never_leaves(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", "true")
    event = to_event(ended({**CALL, "gen_ai.conversation.id": value}))
    assert event is not None
    assert event.session_id is None
