"""Which reported costs are accepted: those of the provider, in USD, and 0 only for a free model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.kit.dialects import ended
from tests.kit.spans import CALL

from infraprism.processor import to_event
from infraprism.schema import Event

PRICED = (Decimal("0.00003885"), "priced")


def event(scope: str = "", **attributes: Any) -> Event:
    span = {"name": "chat", "scope": scope, "kind": "CLIENT", "duration_ms": 1200}
    made = to_event(ended({**span, "attributes": {**CALL, **attributes}}))
    assert made is not None
    return made


def cost(scope: str = "", **attributes: Any) -> tuple[Decimal | None, str]:
    made = event(scope, **attributes)
    return made.cost_usd, made.cost_status


@pytest.mark.parametrize("scope", ["", "openinference.instrumentation.openai", "litellm"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.usage.cost": 0.5, "gen_ai.usage.cost.source": "provider"},
        {"gen_ai.usage.cost": 0.5, "gen_ai.usage.cost_source": "provider"},
        {
            "gen_ai.usage.cost.amount": 0.5,
            "gen_ai.usage.cost.source": "provider",
            "gen_ai.usage.cost.currency": "USD",
        },
    ],
)
def test_a_cost_with_the_provider_as_its_source_is_accepted(scope: str, attributes: dict[str, Any]) -> None:
    assert cost(scope, **attributes) == (Decimal("0.5"), "provider_reported")


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.usage.cost": 0.5},
        {"gen_ai.usage.cost": 0.5, "gen_ai.usage.cost.source": "local"},
        {"gen_ai.usage.cost": 0.5, "gen_ai.usage.cost_source": "estimated"},
        {"gen_ai.usage.cost.amount": 0.5, "gen_ai.usage.cost.source": "provider"},
        {
            "gen_ai.usage.cost.amount": 0.5,
            "gen_ai.usage.cost.source": "provider",
            "gen_ai.usage.cost.currency": "EUR",
        },
        {"gen_ai.usage.cost": 0.5, "gen_ai.usage.cost.source": "provider", "gen_ai.usage.cost.currency": "EUR"},
        {"gen_ai.cost.total_cost": 0.5, "gen_ai.usage.cost.source": "provider"},
        {"gen_ai.usage.cost": "free", "gen_ai.usage.cost.source": "provider"},
    ],
)
def test_a_cost_of_another_or_unknown_source_or_currency_is_not_accepted(attributes: dict[str, Any]) -> None:
    made = event("", **attributes)
    assert (made.cost_usd, made.cost_status) == PRICED


REPORTED = "infraprism.reported_cost_usd"


def test_a_reported_cost_of_0_next_to_tokens_is_priced() -> None:
    assert cost(**{REPORTED: "0"}) == PRICED
    assert cost(**{"gen_ai.usage.cost": 0.0, "gen_ai.usage.cost.source": "provider"}) == PRICED


def test_a_reported_cost_of_0_without_a_price_leaves_the_call_without_a_cost() -> None:
    assert cost(**{REPORTED: "0", "gen_ai.response.model": "unknown-1"}) == (None, "unknown_model")


@pytest.mark.parametrize("key", ["gen_ai.request.model", "gen_ai.response.model"])
def test_a_reported_cost_of_0_is_accepted_for_a_free_model(key: str) -> None:
    free = {"gen_ai.provider.name": "openrouter", key: "meta-llama/llama-3.3-70b-instruct:free"}
    assert cost(**{REPORTED: "0", **free}) == (Decimal(0), "provider_reported")
