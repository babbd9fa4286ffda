"""Distributions: quantiles are values, bins have all values once, and unknown values are counted apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.random_calls import EXACT, FIRST_NS, random_calls

from infraprism.schema import Event

PATH = "/v1/analytics/distribution"
PERIOD = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
EVENTS = [
    *random_calls(300),
    *(
        event(800 + number, timestamp_ns=FIRST_NS, cost_usd=Decimal(cost), latency_ms=number, session_id=f"s{number}")
        for number, cost in enumerate(("0", "0.1", "0.099999999999999999", "0.000000000000000001", "9" * 18))
    ),
    event(
        900, timestamp_ns=FIRST_NS, cost_usd=None, cost_status="no_usage", session_id="unpriced", entity_id="unpriced"
    ),
]
OF: dict[str, Callable[[Event], Any]] = {
    "cost_usd": lambda one: one.cost_usd,
    "latency_ms": lambda one: one.latency_ms,
    "total_tokens": lambda one: None if one.input_tokens is None else one.input_tokens + (one.output_tokens or 0),
}
PER: dict[str, Callable[[Event], Any]] = {
    "event": lambda one: one.id,
    "session": lambda one: one.session_id,
    "entity": lambda one: one.entity_id and (one.entity_type, one.entity_id),
}
GROUPS: dict[str | None, Callable[[Event], Any]] = {
    None: lambda one: None,
    "model": lambda one: one.model,
    "tags.feature": lambda one: dict(one.tags).get("feature"),
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("distribution") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield running


def _sum(values: list[Any]) -> Any:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total


def _check(row: dict[str, Any], events: list[Event], of: str, per: str, group: Any = GROUPS[None]) -> None:
    units = defaultdict(list)
    for one in events:
        unit = PER[per](one)
        units[unit and (group(one), unit)].append(OF[of](one))
    unassigned = len(units.pop(None, []))
    known = {unit: [value for value in values if value is not None] for unit, values in units.items()}
    values = sorted(_sum(found) for found in known.values() if found)
    assert row["unassigned_events"] == unassigned
    assert row["count"] == len(values)
    assert row["without_value"] == sum(not found for found in known.values())
    assert row["incomplete"] == sum(0 < len(known[unit]) < len(units[unit]) for unit in units)
    if not values:
        assert (row["min"], row["max"], row["total"], row["bins"]) == (None, None, None, [])
        assert set(row["quantiles"].values()) == {None}
        return
    assert (row["min"], row["max"], row["total"]) == (values[0], values[-1], _sum(values))
    assert row["quantiles"] == {name: values[int(float(name) * len(values))] for name in ("0.5", "0.9", "0.95", "0.99")}
    bins = row["bins"]
    assert [one["to"] for one in bins[:-1]] == [one["from"] for one in bins[1:]]
    for one in bins:
        assert one["count"] == sum(
            one["from"] <= value and (one["to"] is None or value < one["to"]) for value in values
        )
    assert sum(one["count"] for one in bins) == len(values)
    assert bins[0]["count"] > 0
    assert bins[-1]["count"] > 0


@pytest.mark.parametrize("group_by", GROUPS)
@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("of", OF)
def test_a_distribution_has_each_value_once(backend: Backend, of: str, per: str, group_by: str | None) -> None:
    grouping = {"group_by": group_by} if group_by else {}
    body = backend.get(PATH, of=of, per=per, **grouping, **PERIOD).json
    # A session of two groups is two values.
    _check(body["summary"], EVENTS, of, per, GROUPS[group_by])
    groups = defaultdict(list)
    for one in EVENTS:
        groups[GROUPS[group_by](one)].append(one)
    assert {row.get(group_by) for row in body["data"]} == set(groups)
    for row in body["data"]:
        _check(row, groups[row.get(group_by)], of, per)


def test_without_events_there_are_no_values(backend: Backend) -> None:
    for grouping in ({}, {"group_by": "model"}):
        body = backend.get(PATH, start_date="2025-01-01", end_date="2025-01-02", **grouping).json
        assert body["data"] == []
        _check(body["summary"], [], "cost_usd", "event")


def test_other_measures_and_units_are_errors(backend: Backend) -> None:
    for parameters in ({"of": "input_tokens"}, {"per": "model"}, {"group_by": "day"}):
        answer = backend.get(PATH, **parameters)
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith(f"{next(iter(parameters))}: ")
