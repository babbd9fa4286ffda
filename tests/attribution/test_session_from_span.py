"""A session id that an instrumentation writes on spans is only exported if `INFRAPRISM_SESSION_FROM_SPAN` is true."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.spans import ended

from infraprism.attribution.scope import Attribution
from infraprism.processor import to_event

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
OPENINFERENCE = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}
LANGFUSE = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"}
SPANS: list[dict[str, Any]] = [
    {**CALL, "gen_ai.conversation.id": "conv_1"},
    {**CALL, "session.id": "conv_1"},
    {**CALL, "user.id": "conv_1"},
    {**OPENINFERENCE, "session.id": "conv_1"},
    {**OPENINFERENCE, "session.id": "conv_1", "user.id": "ann"},
    {**OPENINFERENCE, "user.id": "conv_1"},
    {**LANGFUSE, "session.id": "conv_1", "user.id": "ann"},
]


@pytest.mark.parametrize("attributes", SPANS)
def test_the_session_id_of_a_span_is_not_exported_by_default(attributes: dict[str, Any]) -> None:
    event = to_event(ended(attributes))
    assert event is not None
    assert event.session_id is None


@pytest.mark.parametrize("attributes", SPANS)
@pytest.mark.parametrize("enabled", ["true", " TRUE ", "1"])
def test_the_session_id_of_a_span_is_exported_if_it_is_enabled(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any], enabled: str
) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", enabled)
    event = to_event(ended(attributes))
    assert event is not None
    assert event.session_id == "conv_1"


@pytest.mark.parametrize("enabled", ["", "false", "0", "yes please"])
def test_other_values_do_not_enable_it(monkeypatch: pytest.MonkeyPatch, enabled: str) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", enabled)
    event = to_event(ended(SPANS[0]))
    assert event is not None
    assert event.session_id is None


def test_the_attribution_of_the_application_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", "true")
    event = to_event(ended(SPANS[0]), Attribution(session_id="ours"))
    assert event is not None
    assert event.session_id == "ours"


@pytest.mark.parametrize("value", ["two\nlines", "x" * 257, "", 7, ["a"], {"a": "b"}, b"bytes"])
def test_a_value_that_is_no_session_id_is_never_exported(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setenv("INFRAPRISM_SESSION_FROM_SPAN", "true")
    event = to_event(ended({**CALL, "gen_ai.conversation.id": value}))
    assert event is not None
    assert event.session_id is None
