"""Costs of two periods, sorted and paged, in days of a time zone, with filters of several values and of absent ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.kit.backend import Answer, Backend, span
from tests.kit.random_calls import random_calls, sums

from infraprism.schema import Event

EVENTS = random_calls(400)
PATH = "/v1/analytics/costs"
MARCH = {"start_date": "2026-03-01", "end_date": "2026-03-31"}
PREVIOUS = ("total_cost", "total_events", "unpriced_events", "failed_events", "unpriced_failed_events")
NO_EVENTS = dict.fromkeys(PREVIOUS, 0)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("compared") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield running


@pytest.fixture(scope="module")
def costs(backend: Backend) -> Callable[..., Answer]:
    return lambda **parameters: backend.get(PATH, **parameters)


def _on(first: date, last: date, zone: str = "UTC") -> list[Event]:
    return [one for one in EVENTS if first <= one.timestamp.astimezone(ZoneInfo(zone)).date() <= last]


def _measured(events: Sequence[Event]) -> dict[str, Any]:
    return {name: sums(events)[name] for name in PREVIOUS} if events else NO_EVENTS


@pytest.mark.parametrize(
    ("parameters", "first", "last"),
    [
        ({"compare": "previous"}, date(2026, 1, 29), date(2026, 2, 28)),
        ({"compare": "weekday"}, date(2026, 1, 25), date(2026, 2, 24)),
        ({"compare_start": "2026-01-05", "compare_end": "2026-W02-7"}, date(2026, 1, 5), date(2026, 1, 11)),
    ],
    ids=str,
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_each_group_has_the_sums_of_the_period_that_is_compared_with(
    costs: Callable[..., Answer], parameters: dict[str, str], first: date, last: date, zone: str
) -> None:
    body = costs(group_by="model,session", time_zone=zone, **MARCH, **parameters).json
    now, before = defaultdict(list), defaultdict(list)
    for found, events in ((now, _on(date(2026, 3, 1), date(2026, 3, 31), zone)), (before, _on(first, last, zone))):
        for one in events:
            found[one.model, one.session_id].append(one)
    rows = {(row["model"], row["session_id"]): row for row in body["data"]}
    assert rows.keys() == now.keys() | before.keys()
    for key, row in rows.items():
        assert row["previous"] == _measured(before[key])
        assert {name: row[name] for name in PREVIOUS} == _measured(now[key])
    assert body["summary"]["previous"] == {
        **_measured(_on(first, last, zone)),
        "period": {"start": str(first), "end": str(last)},
    }


def _key(day: date, group_by: str) -> str:
    return {"day": str(day), "week": str(day - timedelta(days=day.weekday())), "month": f"{day:%Y-%m}"}[group_by]


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@pytest.mark.parametrize("group_by", ["day", "week", "month"])
@pytest.mark.parametrize(
    ("parameters", "first", "last"),
    [
        ({"compare": "previous"}, date(2026, 1, 29), date(2026, 2, 28)),
        ({"compare_start": "2026-01-02", "compare_end": "2026-02-27"}, date(2026, 1, 2), date(2026, 2, 27)),
        ({"compare_start": "2026-02-01", "compare_end": "2026-02-11"}, date(2026, 2, 1), date(2026, 2, 11)),
    ],
    ids=str,
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_days_weeks_and_months_are_compared_by_their_place_in_the_period(
    costs: Callable[..., Answer], parameters: dict[str, str], first: date, last: date, zone: str, group_by: str
) -> None:
    body = costs(group_by=f"model,{group_by}", time_zone=zone, **MARCH, **parameters).json
    begin = date(2026, 3, 1)
    # Three more months, so that every place of the earlier period has one in the current period.
    places = list(dict.fromkeys(_key(day, group_by) for day in _days(begin, date(2026, 6, 30))))
    earlier = list(dict.fromkeys(_key(day, group_by) for day in _days(first, last)))
    now, before = defaultdict(list), defaultdict(list)
    for one in _on(begin, date(2026, 3, 31), zone):
        now[one.model, _key(one.timestamp.astimezone(ZoneInfo(zone)).date(), group_by)].append(one)
    for one in _on(first, last, zone):
        place = earlier.index(_key(one.timestamp.astimezone(ZoneInfo(zone)).date(), group_by))
        before[one.model, places[place]].append(one)
    rows = {(row["model"], row[group_by]): row for row in body["data"]}
    assert rows.keys() == now.keys() | before.keys()
    for key, row in rows.items():
        assert row["previous"] == _measured(before[key])
        assert {name: row[name] for name in PREVIOUS} == _measured(now[key])
    assert [row[group_by] for row in body["data"]] == sorted(row[group_by] for row in body["data"])


def test_a_group_of_the_earlier_period_alone_is_a_row_without_events(costs: Callable[..., Answer]) -> None:
    first, second = EVENTS[0], next(one for one in EVENTS if one.timestamp.date() != EVENTS[0].timestamp.date())
    earlier, later = sorted((str(first.timestamp.date()), str(second.timestamp.date())))
    body = costs(
        start_date=later, end_date=later, compare_start=earlier, compare_end=earlier, group_by="model,entity"
    ).json
    alone = [row for row in body["data"] if row["total_events"] == 0]
    for row in alone:
        assert (row["total_cost"], row["total_input_tokens"], row["error_rate"]) == (0, 0, None)
        assert row["previous"]["total_events"] > 0
    assert body["summary"]["previous"]["total_events"] == len(
        _on(date.fromisoformat(earlier), date.fromisoformat(earlier))
    )


def test_a_comparison_of_times_has_the_same_length(costs: Callable[..., Answer]) -> None:
    body = costs(start_date="2026-03-10T06:00", end_date="2026-03-10T17:59:59", compare="previous").json
    assert body["summary"]["previous"]["period"] == {
        "start": "2026-03-09T18:00:00.999000Z",
        "end": "2026-03-10T05:59:59.999000Z",
    }
    body = costs(
        start_date="2026-03-30T06:00", end_date="2026-03-30T17:59:59", compare="weekday", time_zone="Europe/Berlin"
    ).json
    # Summer began on 29 March.
    assert body["summary"]["previous"]["period"]["start"] == "2026-03-23T05:00:00Z"


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"end_date": "2026-03-31", "compare": "previous"}, "compare"),
        ({"start_date": "1970-01-02", "end_date": "2026-03-31", "compare": "weekday"}, "compare"),
        ({"start_date": "1970-01-01T00:00", "end_date": "2199-12-31", "compare": "weekday"}, "compare"),
        ({**MARCH, "compare": "yesterday"}, "compare"),
        ({"start_date": "2010-01-01", "end_date": "2020-01-01", "compare": "previous", "group_by": "day"}, "group_by"),
        ({**MARCH, "compare": "previous", "compare_start": "2026-01-01", "compare_end": "2026-01-02"}, "compare"),
        ({**MARCH, "compare_start": "2026-01-01"}, "compare_start, compare_end"),
        ({**MARCH, "compare_start": "2026-01-03", "compare_end": "2026-01-02"}, "compare_end"),
        ({**MARCH, "compare_start": "x", "compare_end": "2026-01-02"}, "compare_start"),
        ({**MARCH, "sort": "change"}, "sort"),
        ({**MARCH, "sort": "model"}, "sort"),
        ({**MARCH, "order": "up"}, "order"),
        ({**MARCH, "offset": "-1"}, "offset"),
        ({**MARCH, "time_zone": "Mars/Olympus"}, "time_zone"),
        ({**MARCH, "time_zone": "../../etc/passwd"}, "time_zone"),
        ({**MARCH, "time_zone": "localtime"}, "time_zone"),
        ({**MARCH, "time_zone": ""}, "time_zone"),
        ({**MARCH, "none": "model"}, "none"),
        ({**MARCH, "cost_status": "free"}, "cost_status"),
    ],
    ids=str,
)
def test_other_values_are_errors_that_name_the_parameter(
    costs: Callable[..., Answer], parameters: dict[str, str], name: str
) -> None:
    answer = costs(**parameters)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_parameter")
    assert answer.json["error"]["message"].startswith(f"{name}: ")
    assert "\n" not in answer.json["error"]["message"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    "sort", ["total_cost", "total_events", "total_input_tokens", "avg_latency_ms", "failed_events", "error_rate"]
)
def test_groups_are_sorted_by_any_sum_and_pages_have_each_once(
    costs: Callable[..., Answer], sort: str, order: str
) -> None:
    parameters = {"group_by": "entity,tags.feature", "sort": sort, "order": order, **MARCH}
    every = costs(**parameters).json
    values = [row[sort] for row in every["data"] if row[sort] is not None]
    assert values == sorted(values, reverse=order == "desc")
    assert [row[sort] for row in every["data"]][: len(values)] == values  # unknown ones are last
    pages = [costs(limit=2, offset=offset, **parameters).json for offset in range(0, len(every["data"]), 2)]
    assert [row for page in pages for row in page["data"]] == every["data"]
    assert [page["has_more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    assert all(page["summary"] == every["summary"] for page in pages)
    assert costs(offset=10**9, **parameters).json["data"] == []


def test_groups_are_sorted_by_key_and_by_change(costs: Callable[..., Answer]) -> None:
    models = [row["model"] for row in costs(group_by="model", sort="key", **MARCH).json["data"]]
    assert models == sorted(models)
    rows = costs(group_by="model,session", sort="change", compare="previous", order="asc", **MARCH).json["data"]
    changes = [row["total_cost"] - row["previous"]["total_cost"] for row in rows]
    assert changes == sorted(changes)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Santiago", "Pacific/Kiritimati"])
@pytest.mark.parametrize("group_by", ["day", "week", "month"])
def test_days_weeks_and_months_are_those_of_the_time_zone(
    costs: Callable[..., Answer], group_by: str, zone: str
) -> None:
    def key(one: Event) -> str:
        day = one.timestamp.astimezone(ZoneInfo(zone)).date()
        return {
            "day": str(day),
            "week": str(day - timedelta(days=day.weekday())),
            "month": f"{day:%Y-%m}",
        }[group_by]

    expected = defaultdict(list)
    for one in _on(date(2026, 1, 10), date(2026, 3, 20), zone):
        expected[key(one)].append(one)
    body = costs(group_by=group_by, time_zone=zone, start_date="2026-01-10", end_date="2026-03-20").json
    assert {row[group_by]: row["total_cost"] for row in body["data"]} == {
        name: sums(events)["total_cost"] for name, events in expected.items()
    }
    assert body["summary"]["time_zone"] == zone


FILTERS: list[tuple[dict[str, Any], Callable[[Event], bool]]] = [
    ({"cost_status": "unknown_model"}, lambda one: one.cost_status == "unknown_model"),
    ({"cost_status": ["unknown_model", "priced"]}, lambda one: True),
    ({"operation": "embeddings"}, lambda one: False),
    ({"operation": ["chat", "embeddings"]}, lambda one: True),
    ({"error_type": "rate_limit"}, lambda one: one.error_type == "rate_limit"),
    ({"none": "error_type"}, lambda one: one.error_type is None),
    ({"model": ["m3", "gpt-4o"]}, lambda one: one.model in {"m3", "gpt-4o"}),
    ({"entity_id": ["acme", "globex"]}, lambda one: one.entity_id is not None),
    ({"none": "entity"}, lambda one: one.entity_id is None),
    ({"none": "entity", "entity_id": "acme"}, lambda one: one.entity_id in {None, "acme"}),
    ({"none": ["entity", "session"]}, lambda one: one.entity_id is None and one.session_id is None),
    ({"session_id": ["s1", "s2", "'"]}, lambda one: one.session_id is not None),
    ({"none": "tags.feature"}, lambda one: "feature" not in dict(one.tags)),
    ({"none": "tag.feature", "tags": "feature:chat"}, lambda one: dict(one.tags).get("feature", "chat") == "chat"),
    ({"tags": "feature:,feature:chat"}, lambda one: "feature" in dict(one.tags)),
    ({"tags": "feature:,env:prod"}, lambda one: dict(one.tags) == {"feature": "", "env": "prod"}),
    ({"tags": "feature:x"}, lambda one: False),
    ({"none": ["tags.feature", "tags.env"]}, lambda one: not one.tags),
]


@pytest.mark.parametrize(("parameters", "selected"), FILTERS, ids=[str(parameters) for parameters, _ in FILTERS])
@pytest.mark.parametrize("group_by", [None, "entity", "tags.feature", "tags.env,model", "tags.env,tags.feature"])
def test_filters_with_several_values_and_of_absent_values_select_events(
    backend: Backend, parameters: dict[str, Any], selected: Callable[[Event], bool], group_by: str | None
) -> None:
    expected = [one for one in EVENTS if selected(one)]
    grouping = {"group_by": group_by} if group_by else {}
    body = backend.get(PATH, start_date="2026-01-01", end_date="2026-03-31", **grouping, **parameters).json
    assert {name: body["summary"][name] for name in PREVIOUS} == _measured(expected)
    assert sum(row["total_events"] for row in body["data"]) == len(expected)
    if group_by is None:
        found = {one["id"] for one in backend.events(**parameters)}
        assert found == {one.id for one in expected}


def test_events_of_a_day_in_a_time_zone(backend: Backend) -> None:
    zone = "Asia/Kathmandu"
    expected = _on(date(2026, 2, 1), date(2026, 2, 3), zone)
    found = backend.events(start_date="2026-02-01", end_date="2026-02-03", time_zone=zone)
    assert {one["id"] for one in found} == {one.id for one in expected}
    local = "2026-02-01T12:00"
    later = backend.events(start_date=local, end_date="2026-02-03", time_zone=zone)
    assert {one["id"] for one in later} == {
        one.id for one in expected if one.timestamp.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat() >= local
    }
