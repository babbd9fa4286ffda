"""Sessions, models, values and tags of an account."""

from __future__ import annotations

import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.random_calls import FIRST_NS, random_calls, sums

from infraprism.schema import Event

PERIOD = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
SUMS = (
    *("total_cost", "total_events", "total_input_tokens", "total_output_tokens"),
    *("unpriced_events", "failed_events", "unpriced_failed_events"),
)
ODD_SESSION = "a/b?c=d#e%2f ü'\\"
EVENTS = [
    *random_calls(300),
    *(event(900 + number, timestamp_ns=FIRST_NS + number * 10**9, session_id=ODD_SESSION) for number in range(3)),
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("listings") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield running


def _by(key: Any) -> dict[Any, list[Event]]:
    found = defaultdict(list)
    for one in EVENTS:
        found[key(one)].append(one)
    return found


def _check(row: dict[str, Any], events: list[Event], first: str, last: str) -> None:
    expected = sums(events)
    assert {name: row[name] for name in SUMS} == {name: expected[name] for name in SUMS}
    times = sorted(one.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z") for one in events)
    assert (row[first], row[last]) == (times[0], times[-1])


def test_each_session_has_its_sums_times_entity_and_models(backend: Backend) -> None:
    expected = _by(lambda one: one.session_id)
    del expected[None]
    body = backend.get("/v1/sessions", **PERIOD).json
    assert {row["session_id"] for row in body["data"]} == set(expected)
    assert body["pagination"] == {"total": 3, "limit": 100, "offset": 0, "has_more": False}
    for row in body["data"]:
        events = expected[row["session_id"]]
        _check(row, events, "first_event", "last_event")
        assert row["models"] == sorted({one.model for one in events})
        entities = {(one.entity_type, one.entity_id) for one in events}
        assert (row["entity_type"], row["entity_id"]) == (entities.pop() if len(entities) == 1 else (None, None))
    assert [row["last_event"] for row in body["data"]] == sorted(
        (row["last_event"] for row in body["data"]), reverse=True
    )


def test_sessions_are_filtered_sorted_and_paged(backend: Backend) -> None:
    selected = [one for one in EVENTS if one.model == "m3" and one.session_id]
    body = backend.get("/v1/sessions", model="m3", sort="total_cost", order="asc", **PERIOD).json
    costs = [row["total_cost"] for row in body["data"]]
    assert costs == sorted(costs)
    assert sum(row["total_events"] for row in body["data"]) == len(selected)
    first = backend.get("/v1/sessions", model="m3", sort="total_cost", order="asc", limit=1, **PERIOD).json
    assert (first["data"], first["pagination"]["has_more"]) == (body["data"][:1], True)
    second = backend.get("/v1/sessions", model="m3", sort="total_cost", order="asc", limit=1, offset=1, **PERIOD).json
    assert second["data"] == body["data"][1:2]


@pytest.mark.parametrize("session_id", ["s1", ODD_SESSION])
def test_a_session_has_its_sums_also_by_model(backend: Backend, session_id: str) -> None:
    events = [one for one in EVENTS if one.session_id == session_id]
    body = backend.get(f"/v1/sessions/{urllib.parse.quote(session_id, safe='')}").json
    _check(body, events, "first_event", "last_event")
    of_model = defaultdict(list)
    for one in events:
        of_model[one.model, one.provider].append(one)
    assert {(row["model"], row["provider"]) for row in body["by_model"]} == set(of_model)
    for row in body["by_model"]:
        _check(row, of_model[row["model"], row["provider"]], "first_seen", "last_seen")


@pytest.mark.parametrize("session_id", ["s3", "", "x" * 300, "%00", "..", "%2e%2e/events"])
def test_an_unknown_session_is_not_found(backend: Backend, session_id: str) -> None:
    answer = backend.get(f"/v1/sessions/{session_id}")
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


def test_each_model_of_each_provider_has_its_sums(backend: Backend) -> None:
    expected = _by(lambda one: (one.model, one.provider))
    body = backend.get("/v1/models").json
    assert {(row["model"], row["provider"]) for row in body["data"]} == set(expected)
    for row in body["data"]:
        _check(row, expected[row["model"], row["provider"]], "first_seen", "last_seen")
    costs = [row["total_cost"] for row in body["data"]]
    assert costs == sorted(costs, reverse=True)
    assert body["pagination"]["total"] == len(expected)
    assert [row["provider"] for row in backend.get("/v1/models", provider="openai", limit=2).json["data"]] == [
        "openai"
    ] * 2


def test_a_model_has_the_price_of_the_table_or_none(backend: Backend) -> None:
    rows = backend.get("/v1/models").json["data"]
    prices = {row["model"]: row["price"] for row in rows if row["provider"] == "openai"}
    assert prices["m3"] is None
    known = prices["gpt-4o"]
    assert (known["input_per_million"], known["output_per_million"]) == (Decimal("2.5"), 10)
    assert known["cache_read_per_million"] == Decimal("1.25")
    assert known["source"]


FIELDS: dict[str, Any] = {
    "entity_id": lambda one: one.entity_id,
    "entity_type": lambda one: one.entity_type,
    "model": lambda one: one.model,
    "provider": lambda one: one.provider,
    "session_id": lambda one: one.session_id,
    "error_type": lambda one: one.error_type,
    "cost_status": lambda one: one.cost_status,
    "tags.feature": lambda one: dict(one.tags).get("feature"),
    "tag.env": lambda one: dict(one.tags).get("env"),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("prefix", ["", "g", "a/", "%", "_", "\\"])
def test_values_that_begin_with_a_prefix_are_listed_the_most_frequent_first(
    backend: Backend, field: str, prefix: str
) -> None:
    counted = Counter(FIELDS[field](one) for one in EVENTS)
    expected = {value: events for value, events in counted.items() if value is not None and value.startswith(prefix)}
    body = backend.get("/v1/values", field=field, prefix=prefix, **PERIOD).json
    assert {row["value"]: row["total_events"] for row in body["data"]} == expected
    events = [row["total_events"] for row in body["data"]]
    assert events == sorted(events, reverse=True)
    assert body["has_more"] is False


def test_a_limit_of_values_and_tags_shows_that_there_are_more(backend: Backend) -> None:
    body = backend.get("/v1/values", field="model", limit=2, **PERIOD).json
    assert (len(body["data"]), body["has_more"]) == (2, True)
    body = backend.get("/v1/tags", limit=1, **PERIOD).json
    assert (len(body["data"]), body["has_more"]) == (1, True)


def test_values_need_a_known_field(backend: Backend) -> None:
    for parameters in ({}, {"field": "cost_usd"}, {"field": "tags."}, {"field": "tags.A b"}, {"field": "success"}):
        answer = backend.get("/v1/values", **parameters)
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith("field: ")


def test_tags_are_listed_with_the_number_of_their_values(backend: Backend) -> None:
    counted = Counter(key for one in EVENTS for key, _ in one.tags)
    body = backend.get("/v1/tags", **PERIOD).json
    assert body["data"] == [
        {
            "key": key,
            "values": len({dict(one.tags)[key] for one in EVENTS if key in dict(one.tags)}),
            "total_events": count,
        }
        for key, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    ]
