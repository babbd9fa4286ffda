"""Counts of spans of any instrumentation: what a total proves, and counts of 0."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.dialects import ended
from tests.kit.spans import CALL

from infraprism.dialects import engine
from infraprism.dialects.engine import ParsedSpan
from infraprism.processor import to_event

INPUT, OUTPUT, TOTAL = (f"gen_ai.usage.{name}_tokens" for name in ("input", "output", "total"))
CACHED, REASONING = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.reasoning.output_tokens"
SCOPES = ("", "openinference.instrumentation.openai", "opentelemetry.instrumentation.openai.v1", "litellm", "openlit")


def parsed(**counts: Any) -> ParsedSpan:
    names = {"input": INPUT, "output": OUTPUT, "total": TOTAL, "cached": CACHED, "reasoning": REASONING}
    found = engine.read({**CALL, **{names[name]: value for name, value in counts.items()}})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("counts", "added"),
    [
        ({"input": 1000, "output": 900, "total": 2400, "reasoning": 500}, (1000, 1400)),
        ({"input": 1000, "output": 900, "total": 1900, "reasoning": 500}, (1000, 900)),
        ({"input": 1000, "output": 900, "total": 2200, "cached": 300, "reasoning": 500}, (1300, 900)),
        ({"input": 1000, "output": 900, "total": 2400, "cached": 300, "reasoning": 500}, (1000, 1400)),
        ({"input": 1000, "output": 900, "total": 2700, "cached": 300, "reasoning": 500}, (1300, 1400)),
        ({"input": 1000, "output": 900, "total": 0, "reasoning": 500}, (1000, 900)),
    ],
)
def test_parts_that_the_total_proves_to_be_excluded_are_added(counts: dict[str, int], added: tuple[int, int]) -> None:
    found = parsed(**counts)
    assert (found.usage.input_tokens, found.usage.output_tokens) == added
    assert not found.contradicts


@pytest.mark.parametrize(
    "counts",
    [
        {"input": 1000, "output": 900, "total": 2401, "reasoning": 500},
        {"input": 1000, "output": 900, "total": 1800},
        {"input": 1000, "output": 900, "total": 2400, "cached": 500, "reasoning": 500},
    ],
)
def test_a_total_that_no_addition_or_more_than_one_explains_is_a_contradiction(counts: dict[str, int]) -> None:
    found = parsed(**counts)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (1000, 900)
    assert found.contradicts


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("operation", ["chat", "text_completion", "embeddings"])
def test_an_input_and_an_output_of_0_were_not_reported_in_any_dialect(scope: str, operation: str) -> None:
    attributes = {**CALL, "gen_ai.operation.name": operation, INPUT: 0, OUTPUT: 0, TOTAL: 0, CACHED: 0}
    span = {"name": "chat", "scope": scope, "kind": "CLIENT", "duration_ms": 1200, "attributes": attributes}
    event = to_event(ended(span))
    assert event is not None
    assert (event.input_tokens, event.output_tokens) == (None, None)
    assert (event.cost_usd, event.cost_status) == (None, "no_usage")


def test_a_single_0_is_a_count() -> None:
    assert parsed(input=5, output=0).usage[:2] == (5, 0)
    assert parsed(input=0, output=5).usage[:2] == (0, 5)
