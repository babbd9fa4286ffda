"""The forecast of a period: the interval has the documented coverage, and too little history is no forecast."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism.backend.analytics.forecast import CONFIDENCE, MAX_DAYS, MIN_DAYS, forecast
from infraprism.backend.api.forecasts import expected

PATH = "/v1/analytics/forecast"
Simulated = Callable[[random.Random, int], list[float]]


def _weekly(order: random.Random, days: int) -> list[float]:
    return [(20 if day % 7 > 4 else 120) * (1 + order.gauss(0, 0.2)) for day in range(days)]


def _dependent(order: random.Random, days: int) -> list[float]:
    level, costs = 0.0, []
    for _ in range(days + 20):
        level = 0.5 * level + order.gauss(0, 20)
        costs.append(200 + level)
    return costs[20:]


INDEPENDENT: dict[str, Simulated] = {
    "normal": lambda order, days: [order.gauss(100, 20) for _ in range(days)],
    "lognormal": lambda order, days: [order.lognormvariate(4, 0.8) for _ in range(days)],
    "weekdays": _weekly,
    "many days without cost": lambda order, days: [
        order.random() // 0.6 * order.expovariate(0.02) for _ in range(days)
    ],
}


def _coverage(simulated: Simulated, history: int, remaining: int) -> float:
    order, covered, runs = random.Random(11), 0, 250
    for _ in range(runs):
        costs = [Decimal(max(0, round(cost * 10**4))).scaleb(-4) for cost in simulated(order, history + remaining)]
        found = forecast(costs[:history], remaining)
        assert found is not None
        covered += abs(sum(costs[history:]) - found.expected) <= found.margin
    return covered / runs


@pytest.mark.parametrize("remaining", [1, 7, 28])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_interval_covers_80_percent_of_independent_days(name: str, remaining: int) -> None:
    # Three standard errors of the share of 250 runs are 0.076.
    assert float(CONFIDENCE) - 0.076 <= _coverage(INDEPENDENT[name], MAX_DAYS, remaining) <= 0.95


def test_the_interval_covers_at_least_65_percent_of_days_that_depend_on_each_other() -> None:
    assert _coverage(_dependent, MAX_DAYS, 7) >= 0.65
    assert _coverage(_dependent, MAX_DAYS, 28) >= 0.65


def test_with_four_weeks_each_weekday_has_its_own_mean() -> None:
    costs = [Decimal(number % 7) for number in range(MAX_DAYS)]
    found = forecast(costs, 3)
    assert found is not None
    assert (found.expected, found.margin, found.method) == (0 + 1 + 2, 0, "weekday_means_of_28_days")
    shorter = forecast(costs[:MIN_DAYS], 7)
    assert shorter is not None
    assert (shorter.expected, shorter.method) == (21, "mean_of_all_days")


def _day(day: date, cost: Decimal | int | None, events: int = 1) -> dict[str, Any]:
    return {
        "start": str(day),
        "total_cost": cost,
        "total_events": events,
        "unpriced_events": events if cost is None else 0,
    }


def test_the_remaining_days_are_added_to_those_that_are_over() -> None:
    today = date(2026, 3, 21)
    days = [_day(today - timedelta(days=before), Decimal(2)) for before in range(MAX_DAYS, 0, -1)]
    found = expected([*days, _day(today, Decimal("0.5"))], date(2026, 3, 1), date(2026, 3, 31))
    assert found["so_far"] == Decimal("40.5")
    assert (found["days_left"], found["expected"], found["low"], found["high"]) == (11, 62, 62, 62)
    assert (found["reason"], found["days_of_history"]) == (None, 28)


def test_no_forecast_is_below_what_was_spent() -> None:
    today = date(2026, 3, 31)
    days = [_day(today - timedelta(days=before), Decimal(before % 5)) for before in range(MAX_DAYS, 0, -1)]
    found = expected([*days, _day(today, Decimal(100))], date(2026, 3, 1), date(2026, 3, 31))
    assert found["expected"] == found["low"] == found["so_far"]


def test_days_before_the_first_event_are_no_history() -> None:
    today = date(2026, 3, 21)
    days = [_day(today - timedelta(days=before), 0, events=0) for before in range(MAX_DAYS, MIN_DAYS - 1, -1)]
    used = [_day(today - timedelta(days=before), Decimal(2)) for before in range(MIN_DAYS - 1, 0, -1)]
    found = expected([*days, *used, _day(today, Decimal(1))], date(2026, 3, 1), date(2026, 3, 31))
    assert found["days_of_history"] == MIN_DAYS - 1
    assert all(found[name] is None for name in ("expected", "low", "high", "confidence", "method"))
    assert str(MIN_DAYS) in found["reason"]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
@pytest.mark.parametrize("until", ["week", "month"])
def test_the_forecast_of_the_current_period(backend: Backend, account: str, until: str, zone: str) -> None:
    now = datetime.now(UTC)
    sent = [
        event(
            7_000_000 + 10 * number + part,
            timestamp_ns=int((now - timedelta(days=number)).timestamp()) * 10**9,
            cost_usd=Decimal("0.000000000000000001") if part else Decimal(1),
        )
        for number in range(40)
        for part in range(2)
    ]
    assert backend.export(*map(span, sent), key=account).rejected == 0
    found = backend.get(PATH, account, until=until, time_zone=zone).json
    sums = backend.get(
        "/v1/analytics/costs",
        account,
        start_date=found["period"]["start"],
        end_date=found["period"]["end"],
        time_zone=zone,
    ).json["summary"]
    assert (found["so_far"], found["total_events"]) == (sums["total_cost"], sums["total_events"])
    days = (date.fromisoformat(found["period"]["end"]) - date.fromisoformat(found["period"]["start"])).days + 1
    assert found["expected"] == found["high"] == days
    assert found["time_zone"] == zone


def test_a_forecast_of_an_account_without_events_says_why_there_is_none(backend: Backend, account: str) -> None:
    found = backend.get(PATH, account).json
    assert (found["so_far"], found["expected"], found["days_of_history"]) == (0, None, 0)
    assert found["reason"]
    for parameters in ({"start_date": "2026-01-01"}, {"until": "year"}, {"group_by": "model"}):
        assert backend.get(PATH, account, **parameters).status == 400
