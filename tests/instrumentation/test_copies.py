"""Clients, responses and errors can be copied and pickled exactly as without instrumentation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import openai
import pytest
from tests.kit.client_calls import MESSAGES, client
from tests.kit.provider import OPENAI_KEY
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument
from infraprism.local_provider import LocalProvider

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


def _create(package: str, opened: Any) -> Any:
    if package == "openai":
        return opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    return opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)


def _copied(make: Callable[[Any], Any], value: Any) -> object:
    """The facts about a copy, or the error of making one."""
    try:
        made = make(value)
    except Exception as error:  # noqa: BLE001 - any error must be the same
        return type(error), str(error)
    facts = sorted(vars(made)) if hasattr(made, "__dict__") else []
    if isinstance(made, Exception):
        return type(made), facts, type(made.args), len(made.args)
    dumped = made.model_dump(exclude={"id", "created"}) if hasattr(made, "model_dump") else None
    return type(made), facts, dumped


def _all_copied(package: str, provider: LocalProvider) -> list[object]:
    with client(package, provider, asynchronous=False) as opened:
        response = _create(package, opened)
        with pytest.raises(Exception, match="404") as caught:
            _create(package, opened.with_options(base_url=f"http://127.0.0.1:{provider.port}/missing"))
        return [_copied(make, value) for value in (opened, response, caught.value) for make in COPIES.values()]


@pytest.mark.parametrize("package", ["openai", "anthropic"])
def test_the_same_objects_can_be_copied_and_pickled(package: str, provider: LocalProvider) -> None:
    bare = _all_copied(package, provider)
    recorded = RecordedSpans()
    instrument(recorded.provider)
    assert _all_copied(package, provider) == bare
    assert len(recorded.spans) == 2


def test_calls_of_the_modules_own_client_are_instrumented(
    provider: LocalProvider, recorded: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai.DefaultHttpxClient(verify=False) as transport:
        monkeypatch.setattr(openai, "_client", None)  # created again, not that of another test
        monkeypatch.setattr(openai, "http_client", transport)
        monkeypatch.setattr(openai, "api_key", OPENAI_KEY)
        monkeypatch.setattr(openai, "base_url", f"{provider.openai_base_url}/")
        openai.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert (recorded.only().attributes or {})["gen_ai.request.model"] == "gpt-4o"
    assert len(provider.calls) == 1
