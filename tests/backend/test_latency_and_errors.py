"""Quantiles of latency are within the documented error, and the categories of errors add up to the failures."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.random_calls import FIRST_NS

from infraprism.backend.analytics.latency import quantile
from infraprism.backend.store.measured_rows import ZERO_BUCKET
from infraprism.schema import Event
from infraprism.schema.fields import ERROR_TYPES, MAX_LATENCY_MS

PERIOD = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
SHARES = {"p50_latency_ms": Fraction(1, 2), "p95_latency_ms": Fraction(19, 20), "p99_latency_ms": Fraction(99, 100)}
MODELS = {"zero": [0] * 9, "one": [1], "largest": [MAX_LATENCY_MS] * 2}


def _events() -> list[Event]:
    order = random.Random(3)
    made = []
    for number in range(1, 601):
        failed = order.random() < 0.3
        made.append(
            event(
                number,
                timestamp_ns=FIRST_NS + order.randrange(90 * 86_400) * 10**9,
                model=order.choice(["gpt-4o", "claude-x", "m3"]),
                latency_ms=int(order.lognormvariate(7, 2)),
                success=not failed,
                error_type=order.choice(ERROR_TYPES[:4]) if failed else None,
                entity_id=order.choice(["acme", None]),
                tags=order.choice([{}, {"feature": "chat"}]),
            )
        )
    for model, latencies in MODELS.items():
        for latency_ms in latencies:
            made.append(event(2000 + len(made), timestamp_ns=FIRST_NS, model=model, latency_ms=latency_ms))
    return made


EVENTS = _events()
GROUPS: dict[str, Any] = {
    "model": lambda one: (one.model,),
    "model,tags.feature": lambda one: (one.model, dict(one.tags).get("feature")),
    "entity": lambda one: (one.entity_type, one.entity_id),
    "day": lambda one: (str(one.timestamp.date()),),
    "error_type": lambda one: (one.error_type,),
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("latency") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield running


def _grouped(group_by: str) -> dict[tuple[Any, ...], list[Event]]:
    found = defaultdict(list)
    for one in EVENTS:
        found[GROUPS[group_by](one)].append(one)
    return found


def _exact(events: list[Event], share: Fraction) -> int:
    return sorted(one.latency_ms for one in events)[ceil(share * len(events)) - 1]


def _key(row: dict[str, Any], known: set[str]) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name not in known)


@pytest.mark.parametrize("group_by", GROUPS)
def test_quantiles_of_latency_are_at_most_2_3_percent_off(backend: Backend, group_by: str) -> None:
    body = backend.get("/v1/analytics/latency", group_by=group_by, **PERIOD).json
    expected = _grouped(group_by)
    sums = {"total_events", "avg_latency_ms", *SHARES}
    assert {_key(row, sums) for row in body["data"]} == set(expected)
    for row, events in [*((row, expected[_key(row, sums)]) for row in body["data"]), (body["summary"], EVENTS)]:
        assert row["total_events"] == len(events)
        for name, share in SHARES.items():
            exact = _exact(events, share)
            assert abs(row[name] - exact) <= exact * 0.023, (name, row, exact)
    assert body["summary"]["time_zone"] == "UTC"


def test_latencies_of_0_and_1_and_the_largest_have_a_bucket_of_their_own(backend: Backend) -> None:
    rows = {row["model"]: row for row in backend.get("/v1/analytics/latency", group_by="model", **PERIOD).json["data"]}
    assert [rows["zero"][name] for name in SHARES] == [0, 0, 0]
    assert [rows["one"][name] for name in SHARES] == [1, 1, 1]
    assert all(abs(rows["largest"][name] / MAX_LATENCY_MS - 1) < 0.023 for name in SHARES)


def test_the_value_of_a_bucket_is_near_each_of_its_latencies() -> None:
    for bucket in range(-1, 512):
        lowest, highest = 2 ** (bucket / 16), 2 ** ((bucket + 1) / 16)
        for latency_ms in {ceil(lowest + 1e-9), int(highest)}:
            if lowest < latency_ms <= highest:
                found = quantile({bucket: 1}, Fraction(1, 2))
                assert found is not None
                assert abs(found - latency_ms) <= latency_ms * 0.023, bucket
    assert quantile({}, Fraction(1, 2)) is None
    assert quantile({ZERO_BUCKET: 1, 100: 1}, Fraction(1, 2)) == 0


@pytest.mark.parametrize("group_by", [*GROUPS, None])
def test_the_error_types_of_a_group_add_up_to_its_failures(backend: Backend, group_by: str | None) -> None:
    parameters = {"group_by": group_by} if group_by else {}
    body = backend.get("/v1/analytics/errors", **parameters, **PERIOD).json
    expected = _grouped(group_by) if group_by else {(): EVENTS}
    sums = {"total_events", "failed_events", "error_rate", "error_types"}
    assert {_key(row, sums) for row in body["data"]} == set(expected)
    for row, events in [*((row, expected[_key(row, sums)]) for row in body["data"]), (body["summary"], EVENTS)]:
        failed = Counter(one.error_type for one in events if not one.success)
        assert (row["total_events"], row["failed_events"]) == (len(events), failed.total())
        assert {one["error_type"]: one["failed_events"] for one in row["error_types"]} == failed
        counts = [one["failed_events"] for one in row["error_types"]]
        assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("path", ["/v1/analytics/latency", "/v1/analytics/errors"])
def test_without_events_there_is_no_latency_and_no_error_rate(backend: Backend, path: str) -> None:
    for grouping in ({}, {"group_by": "model"}):
        body = backend.get(path, start_date="2025-01-01", end_date="2025-01-02", **grouping).json
        assert (body["data"], body["summary"]["total_events"], body["has_more"]) == ([], 0, False)
        for name in ("p50_latency_ms", "avg_latency_ms", "error_rate"):
            assert body["summary"].get(name) is None


@pytest.mark.parametrize("path", ["/v1/analytics/latency", "/v1/analytics/errors"])
def test_a_limit_shows_that_there_is_more(backend: Backend, path: str) -> None:
    body = backend.get(path, group_by="model", limit=2, **PERIOD).json
    assert (len(body["data"]), body["has_more"]) == (2, True)
    assert body["summary"]["total_events"] == len(EVENTS)
    assert backend.get(path, group_by="model", limit=6, **PERIOD).json["has_more"] is False
