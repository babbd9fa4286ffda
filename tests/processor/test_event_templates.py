"""Events are copies of a cached template; only ids, times, counts and cost differ."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.spans import CALL, ended

from infraprism.processor import conversion, to_event
from infraprism.schema import Event


def event(**changes: Any) -> Event:
    """The event of a call with other attributes; `__` in a name is a dot."""
    attributes = {key.replace("__", "."): value for key, value in changes.items()}
    made = to_event(ended({**CALL, **attributes}))
    assert made is not None
    return made


@pytest.fixture
def templates_built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the event templates that are built, one per template, with an empty cache of four."""
    built: list[str] = []

    def record(model: str) -> str:
        built.append(model)
        return model

    monkeypatch.setattr(conversion, "model_in", record)
    monkeypatch.setattr(conversion, "MAX_TEMPLATES", 0)
    event(gen_ai__response__model="clears-the-cache")
    monkeypatch.setattr(conversion, "MAX_TEMPLATES", 4)
    built.clear()
    return built


def test_calls_that_differ_only_in_numbers_share_a_template_and_have_their_own_numbers(
    templates_built: list[str],
) -> None:
    few = event(gen_ai__usage__input_tokens=1, gen_ai__usage__output_tokens=2)
    many = event(gen_ai__usage__input_tokens=1000, gen_ai__usage__output_tokens=2000)
    assert len(templates_built) == 1
    assert (few.input_tokens, few.output_tokens) == (1, 2)
    assert (many.input_tokens, many.output_tokens) == (1000, 2000)
    assert few.cost_usd is not None
    assert many.cost_usd == few.cost_usd * 1000
    assert few.id != many.id


def test_the_number_of_cached_templates_is_bounded(templates_built: list[str]) -> None:
    models = [f"model-{number}" for number in range(10)]
    assert [event(gen_ai__response__model=model).model for model in models] == models
    assert event(gen_ai__response__model=models[-1]).model == models[-1]
    assert templates_built == models  # the last is cached
    event(gen_ai__response__model=models[0])
    assert templates_built == [*models, models[0]]  # the first is not
