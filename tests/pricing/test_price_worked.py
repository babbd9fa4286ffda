"""Calls calculated by hand from the providers' published rates and examples, each with its source.

`worked.json` has, for every call, the lines of its bill as the provider writes them: tokens and USD per million, fees
and USD per thousand. The sum is calculated here with fractions, independently of the engine.
"""

from __future__ import annotations

import json
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infraprism.pricing import PricingRequest, explain, price
from infraprism.schema.usage import Usage

CASES = json.loads((Path(__file__).parent / "worked.json").read_text())


def request(case: dict[str, Any]) -> PricingRequest:
    at_ns = int(datetime.fromisoformat(case["at"]).timestamp()) * 10**9
    where = {key: case[key] for key in ("tier", "region", "deployment") if key in case}
    return PricingRequest(case["provider"], case["model"], Usage(**case["usage"]), at_ns, **where)


@pytest.mark.parametrize("case", CASES, ids=[case["title"] for case in CASES])
def test_the_price_equals_the_sum_of_the_published_rates(case: dict[str, Any]) -> None:
    found = price(request(case))
    assert found.status == case["status"]
    if case["status"] != "priced":
        assert found.cost_usd is None
        return
    expected = sum(Fraction(rate) * count / 10**6 for count, rate in case["lines"])
    expected += sum(Fraction(fee) * count / 1000 for count, fee in case["fees"])
    assert found.cost_usd is not None
    assert Fraction(found.cost_usd) == expected


@pytest.mark.parametrize("case", CASES, ids=[case["title"] for case in CASES])
def test_the_explanation_adds_up_to_the_price_or_names_what_is_missing(case: dict[str, Any]) -> None:
    found = explain(request(case))
    assert found.price == price(request(case))
    if found.price.cost_usd is None:
        assert found.missing
    else:
        assert Fraction(found.price.cost_usd) == Fraction(sum(line.pieces * line.rate for line in found.lines), 10**24)
        assert found.source


def test_every_worked_case_names_its_source() -> None:
    assert all(case["source"].startswith("https://") for case in CASES)
    assert len({case["title"] for case in CASES}) == len(CASES)
