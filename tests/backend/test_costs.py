"""Costs are summed exactly, for every grouping and filter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import event
from tests.kit.random_calls import EXACT, FIRST_NS, random_calls, sums

from infraprism.schema import Event

PERIOD = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
EVENTS = random_calls(300)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    with Backend(tmp_path_factory.mktemp("costs") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield lambda **parameters: running.get("/v1/analytics/costs", **parameters)


def _monday(one: Event) -> str:
    day = one.timestamp.date()
    return str(day - timedelta(days=day.weekday()))


GROUPS: dict[str, tuple[tuple[str, ...], Callable[[Event], tuple[Any, ...]]]] = {
    "entity": (("entity_type", "entity_id"), lambda one: (one.entity_type, one.entity_id)),
    "model": (("model",), lambda one: (one.model,)),
    "provider": (("provider",), lambda one: (one.provider,)),
    "session": (("session_id",), lambda one: (one.session_id,)),
    "day": (("day",), lambda one: (str(one.timestamp.date()),)),
    "week": (("week",), lambda one: (_monday(one),)),
    "month": (("month",), lambda one: (one.timestamp.strftime("%Y-%m"),)),
    "tags.feature": (("tags.feature",), lambda one: (dict(one.tags).get("feature"),)),
    "tag.env": (("tags.env",), lambda one: (dict(one.tags).get("env"),)),
    "model,entity": (
        ("model", "entity_type", "entity_id"),
        lambda one: (one.model, one.entity_type, one.entity_id),
    ),
    "tags.feature,tag.env": (
        ("tags.feature", "tags.env"),
        lambda one: (dict(one.tags).get("feature"), dict(one.tags).get("env")),
    ),
    "provider,month": (("provider", "month"), lambda one: (one.provider, one.timestamp.strftime("%Y-%m"))),
}


@pytest.mark.parametrize("group_by", [*GROUPS, ""])
@pytest.mark.parametrize("compared", [{}, {"compare_start": "2025-12-01", "compare_end": "2026-01-31"}])
def test_total_sessions_is_the_exact_number_of_sessions(
    costs: Callable[..., Answer], group_by: str, compared: dict[str, str]
) -> None:
    names, key_of = GROUPS.get(group_by, ((), lambda _: ()))
    expected = defaultdict(set)
    for one in EVENTS:
        expected[key_of(one)] |= {one.session_id} - {None}
    grouping = {"group_by": group_by} if group_by else {}
    body = costs(total_sessions="true", **grouping, **PERIOD, **compared).json
    now = [row for row in body["data"] if row["total_events"]]
    assert {tuple(row[name] for name in names): row["total_sessions"] for row in now} == {
        key: len(found) for key, found in expected.items()
    }
    assert body["summary"]["total_sessions"] == len({one.session_id for one in EVENTS} - {None})


@pytest.mark.parametrize("group_by", GROUPS)
def test_each_group_is_summed_exactly(costs: Callable[..., Answer], group_by: str) -> None:
    names, key_of = GROUPS[group_by]
    expected = defaultdict(list)
    for one in EVENTS:
        expected[key_of(one)].append(one)
    body = costs(group_by=group_by, **PERIOD).json
    found = {}
    for row in body["data"]:
        key = tuple(row.pop(name) for name in names)
        latency = row.pop("avg_latency_ms")
        mean = sum(one.latency_ms for one in expected[key]) / len(expected[key])
        assert abs(latency - mean) <= 0.5
        found[key] = row
    assert found == {key: sums(events) for key, events in expected.items()}
    every = sums(EVENTS)
    assert body["summary"] == {
        **{name: value for name, value in every.items() if not name.endswith("_tokens")},
        "period": {"start": "2026-01-01", "end": "2026-03-31"},
        "time_zone": "UTC",
    }
    assert body["has_more"] is False


def test_the_response_contains_every_digit_of_a_sum(costs: Callable[..., Answer]) -> None:
    total = format(sums(EVENTS)["total_cost"], "f").rstrip("0")
    assert f'"total_cost":{total},'.encode() in costs(**PERIOD).body


def test_without_a_grouping_there_is_one_row(costs: Callable[..., Answer]) -> None:
    body = costs(**PERIOD).json
    (row,) = body["data"]
    assert row["total_cost"] == body["summary"]["total_cost"]
    assert "model" not in row


def test_filters_apply_to_rows_and_summary(costs: Callable[..., Answer]) -> None:
    selected = [one for one in EVENTS if one.model == "m3" and dict(one.tags).get("feature") == "chat"]
    body = costs(model="m3", tags="feature:chat", group_by="provider", **PERIOD).json
    assert body["summary"]["total_cost"] == sums(selected)["total_cost"]
    assert sum(row["total_events"] for row in body["data"]) == body["summary"]["total_events"] == len(selected)


def test_groups_are_sorted_by_cost_and_days_by_date(costs: Callable[..., Answer]) -> None:
    sums = [row["total_cost"] for row in costs(group_by="model", **PERIOD).json["data"]]
    assert sums == sorted(sums, reverse=True)
    days = [row["day"] for row in costs(group_by="day", **PERIOD).json["data"]]
    assert days == sorted(days)


def test_the_summary_of_a_truncated_list_covers_all_groups(costs: Callable[..., Answer]) -> None:
    body = costs(group_by="day", limit=5, **PERIOD).json
    assert len(body["data"]) == 5
    assert body["has_more"] is True
    assert body["summary"]["total_events"] == len(EVENTS)
    distinct = {row["day"] for row in costs(group_by="day", **PERIOD).json["data"]}
    assert costs(group_by="day", limit=len(distinct), **PERIOD).json["has_more"] is False


def test_both_ends_of_the_period_are_included(costs: Callable[..., Answer]) -> None:
    day = str(EVENTS[0].timestamp.date())
    expected = sum(str(one.timestamp.date()) == day for one in EVENTS)
    assert costs(start_date=day, end_date=day).json["summary"]["total_events"] == expected


@pytest.mark.parametrize("group_by", [None, "model", "tags.feature"])
def test_without_events_the_sums_are_zero(costs: Callable[..., Answer], group_by: str | None) -> None:
    parameters = {"group_by": group_by} if group_by else {}
    body = costs(start_date="2025-01-01", end_date="2025-01-02", **parameters).json
    assert body["data"] == []
    assert body["summary"]["total_cost"] == body["summary"]["total_events"] == 0


def test_two_keys_may_be_two_parameters(costs: Callable[..., Answer]) -> None:
    repeated = costs(group_by=["model", "provider"], **PERIOD)
    assert repeated.body == costs(group_by="model,provider", **PERIOD).body
    assert {(row["model"], row["provider"]) for row in repeated.json["data"]} == {
        (one.model, one.provider) for one in EVENTS
    }


@pytest.mark.parametrize("group_by", ["model,model", "tag.a,tags.a", "model,provider,day", "model,", ",", "model;day"])
def test_more_than_two_keys_equal_keys_and_unknown_keys_are_errors(costs: Callable[..., Answer], group_by: str) -> None:
    answer = costs(group_by=group_by, **PERIOD)
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith("group_by: ")


def test_two_keys_with_a_time_are_sorted_by_time_then_by_cost(costs: Callable[..., Answer]) -> None:
    rows = costs(group_by="model,month", **PERIOD).json["data"]
    assert rows == sorted(rows, key=lambda row: (row["month"], -row["total_cost"]))


def test_the_default_period_is_30_days_and_one_date_leaves_the_other_end_open(costs: Callable[..., Answer]) -> None:
    def period(**parameters: str) -> tuple[str | None, str | None]:
        found = costs(**parameters).json["summary"]["period"]
        return found["start"], found["end"]

    before = datetime.now(UTC).date()
    start, end = period()
    from_start = period(start_date="2026-01-01")
    today = {before, datetime.now(UTC).date()}
    assert (start, end) in {(str(day - timedelta(days=29)), str(day)) for day in today}
    assert from_start in {("2026-01-01", str(day)) for day in today}
    assert period(end_date="2026-03-31") == (None, "2026-03-31")
    assert costs(end_date="2026-03-31").json["summary"]["total_events"] == len(EVENTS)
    assert costs(start_date="2026-01-01").json["summary"]["total_events"] == len(EVENTS)
    assert costs(start_date="2199-12-20").status == 400


def test_the_cost_of_a_group_without_priced_events_is_null(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        backend.export(span(event(1, cost_usd=None, cost_status="no_usage", timestamp_ns=FIRST_NS)))
        body = backend.get("/v1/analytics/costs", group_by="model", **PERIOD).json
        assert (body["data"][0]["total_cost"], body["data"][0]["unpriced_events"]) == (None, 1)
        assert (body["summary"]["total_cost"], body["summary"]["unpriced_events"]) == (None, 1)
        # More than a sum of 128 bits could hold.
        huge = [
            span(event(number, timestamp_ns=FIRST_NS), **{"infraprism.cost_usd": "9" * 18 + "." + "9" * 18})
            for number in range(2, 402)
        ]
        assert backend.export(*huge).rejected == 0
        total = backend.get("/v1/analytics/costs", **PERIOD).json["summary"]["total_cost"]
        assert total == EXACT.multiply(Decimal("9" * 18 + "." + "9" * 18), Decimal(400))
