"""Sums of intervals: parts add up to the whole in every interval, grouping and time zone."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import event
from tests.kit.random_calls import EXACT, FAILED, random_calls, sums

from infraprism.backend.analytics import time_zones
from infraprism.backend.analytics.intervals import MAX_INTERVALS, intervals
from infraprism.backend.analytics.periods import Period
from infraprism.schema import Event

PATH = "/v1/analytics/costs/timeseries"
PERIOD = {"start_date": "2026-01-01", "end_date": "2026-04-02"}
SUMS = ("total_cost", "total_events", "unpriced_events", "failed_events", "unpriced_failed_events")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Santiago",  # midnight does not exist on the first day of summer
    "Africa/Cairo",
    "America/Havana",  # midnight exists twice on the last day of summer
    "Asia/Kathmandu",  # 5:45 ahead
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Kiritimati",
    "America/St_Johns",
)
GROUPS: dict[str, Callable[[Event], tuple[Any, ...]]] = {
    "model": lambda one: (one.model,),
    "entity": lambda one: (one.entity_type, one.entity_id),
    "tags.feature": lambda one: (dict(one.tags).get("feature"),),
    "error_type": lambda one: (one.error_type,),
    "session,tags.env": lambda one: (one.session_id, dict(one.tags).get("env")),
    "tags.env,tags.feature": lambda one: (dict(one.tags).get("env"), dict(one.tags).get("feature")),
}
EVENTS = [
    *random_calls(300),
    *(
        event(1000 + number, timestamp_ns=_ns, cost_usd=Decimal(number).scaleb(-18), tags={"feature": f"f{number}"})
        for number, _ns in enumerate(
            int(datetime(2026, 3, 29, tzinfo=UTC).timestamp()) * 10**9 + quarter * 900 * 10**9 for quarter in range(96)
        )
    ),
    event(2000, timestamp_ns=1_774_800_000 * 10**9, cost_usd=None, cost_status="no_usage", **FAILED),
]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    with Backend(tmp_path_factory.mktemp("series") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield lambda **parameters: running.get(PATH, **{**PERIOD, **parameters})


def _start(one: Event, interval: str, zone: ZoneInfo) -> str:
    local = one.timestamp.astimezone(zone)
    day = local.date()
    if interval == "week":
        return str(day - timedelta(days=day.weekday()))
    return str(day) if interval == "day" else f"{day:%Y-%m}"


def _measured(events: Sequence[Event]) -> dict[str, Any]:
    found = sums(events)
    return {name: found[name] for name in SUMS}


def _in_period(zone: ZoneInfo) -> list[Event]:
    return [one for one in EVENTS if date(2026, 1, 1) <= one.timestamp.astimezone(zone).date() <= date(2026, 4, 2)]


def _added(rows: Sequence[dict[str, Any]], name: str) -> Any:
    total = Decimal(0)
    for row in rows:
        total = EXACT.add(total, row[name] or 0)
    return total


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", ["day", "week", "month"])
def test_each_interval_of_each_time_zone_has_its_events(
    series: Callable[..., Answer], interval: str, zone: str
) -> None:
    expected = defaultdict(list)
    for one in _in_period(ZoneInfo(zone)):
        expected[_start(one, interval, ZoneInfo(zone))].append(one)
    body = series(interval=interval, time_zone=zone).json
    found = {row["start"]: {name: row[name] for name in SUMS} for row in body["data"] if row["total_events"]}
    assert found == {start: _measured(events) for start, events in expected.items()}
    empty = [row for row in body["data"] if not row["total_events"]]
    assert all(row["total_cost"] == 0 for row in empty)
    assert body["summary"]["time_zone"] == zone
    assert body["summary"]["period"] == {"start": "2026-01-01", "end": "2026-04-02"}


@pytest.mark.parametrize("group_by", GROUPS)
@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Santiago"])
def test_parts_add_up_to_the_whole(series: Callable[..., Answer], interval: str, group_by: str, zone: str) -> None:
    period = {"start_date": "2026-03-10", "end_date": "2026-04-02"} if interval == "hour" else {}
    body = series(interval=interval, group_by=group_by, top=2, time_zone=zone, **period).json
    for name in SUMS:
        total = body["summary"][name]
        assert _added(body["data"], name) == _added(body["groups"], name) == total
        for row in body["data"]:
            assert _added(row["groups"], name) == (row[name] or 0)
    assert 1 <= sum(group["kind"] == "named" for group in body["groups"]) <= 2
    assert all(row["groups"] == [] for row in body["data"] if not row["total_events"])


@pytest.mark.parametrize("group_by", GROUPS)
def test_the_groups_are_the_most_expensive_ones_the_rest_and_events_without_the_key(
    series: Callable[..., Answer], group_by: str
) -> None:
    of_key = defaultdict(list)
    for one in _in_period(ZoneInfo("UTC")):
        of_key[GROUPS[group_by](one)].append(one)
    absent = of_key.pop(next((key for key in of_key if not any(part is not None for part in key)), ()), [])
    by_cost = sorted(of_key, key=lambda key: sums(of_key[key])["total_cost"] or 0, reverse=True)
    groups = series(group_by=group_by, top=2).json["groups"]
    names = [name for name in groups[0] if name not in (*SUMS, "kind")]
    named = [tuple(group[name] for name in names) for group in groups if group["kind"] == "named"]
    assert named == by_cost[:2]
    rest = {group["kind"]: {name: group[name] for name in SUMS} for group in groups if group["kind"] != "named"}
    others = [one for key in by_cost[2:] for one in of_key[key]]
    expected = {"other": others, "none": absent}
    assert rest == {kind: _measured(events) for kind, events in expected.items() if events}
    for group in groups[len(named) :]:
        assert all(group[name] is None for name in names)


@pytest.mark.parametrize("zone", ZONES)
def test_hours_are_those_of_the_clock_of_the_time_zone(series: Callable[..., Answer], zone: str) -> None:
    body = series(interval="hour", time_zone=zone, start_date="2026-03-27", end_date="2026-04-01").json
    starts = [datetime.fromisoformat(row["start"]) for row in body["data"]]
    ends = [*starts[1:], datetime(2026, 4, 2, tzinfo=ZoneInfo(zone))]
    for row, start, end in zip(body["data"], starts, ends, strict=True):
        assert start.astimezone(ZoneInfo(zone)).isoformat() == row["start"]
        assert timedelta(0) < end.astimezone(UTC) - start.astimezone(UTC) <= timedelta(hours=1)
        inside = [one for one in EVENTS if start <= one.timestamp < end]
        assert row["total_events"] == len(inside)
        assert (row["total_cost"] or 0) == (sums(inside)["total_cost"] or 0 if inside else 0)


def test_a_day_of_daylight_saving_has_23_or_25_hours_and_half_an_hour_can_be_left_over() -> None:
    def hours(zone: str, day: date) -> list[int]:
        found = intervals(Period(day, day, ZoneInfo(zone)), "hour")
        return [(one.end_ms - one.start_ms) // 60_000 for one in found]

    assert hours("Europe/Berlin", date(2026, 3, 29)) == [60] * 23
    assert hours("Europe/Berlin", date(2026, 10, 25)) == [60] * 25
    assert hours("Asia/Kathmandu", date(2026, 10, 25)) == [60] * 24
    assert sorted(hours("Australia/Lord_Howe", date(2026, 4, 5))) == [30] + [60] * 24
    assert sum(hours("Australia/Lord_Howe", date(2026, 10, 4))) == 23 * 60 + 30
    assert len(hours("America/Santiago", date(2026, 9, 6))) == 23
    assert len(hours("America/Havana", date(2026, 11, 1))) == 25


@pytest.mark.parametrize("kind", ["hour", "day", "week", "month"])
def test_intervals_of_every_time_zone_have_no_gaps_and_no_overlaps(kind: str) -> None:
    for name in sorted(time_zones.names()):
        zone = ZoneInfo(name)
        period = Period(date(2026, 10, 1), date(2026, 11, 15), zone)
        found = intervals(period, kind)
        assert [one.end_ms for one in found[:-1]] == [one.start_ms for one in found[1:]], name
        assert found[0].start_ms <= (period.first_ms or 0) < found[0].end_ms, name
        assert found[-1].start_ms < period.end_ms <= found[-1].end_ms, name
        assert len({one.start for one in found}) == len(found), name


def test_an_interval_is_complete_if_it_is_over_and_in_the_period_as_a_whole(series: Callable[..., Answer]) -> None:
    def complete(**parameters: str) -> list[bool]:
        return [row["complete"] for row in series(**parameters).json["data"]]

    assert complete(interval="month", start_date="2026-01-01", end_date="2026-03-15") == [True, True, False]
    assert complete(interval="week", start_date="2026-01-06", end_date="2026-01-18") == [False, True]
    assert complete(interval="day", start_date="2026-01-06T12:00", end_date="2026-01-07") == [False, True]
    tomorrow = str(datetime.now(UTC).date() + timedelta(days=1))
    assert complete(interval="day", start_date=tomorrow, end_date=tomorrow) == [False]


def test_a_period_without_a_start_or_with_too_many_intervals_is_an_error(series: Callable[..., Answer]) -> None:
    for parameters in (
        {"start_date": "1970-01-01", "interval": "day"},
        {"start_date": "2025-12-01", "interval": "hour"},
        {"start_date": "1970-01-01", "end_date": "2199-12-31", "interval": "hour"},
    ):
        answer = series(**parameters)
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith("interval: ")
        assert str(MAX_INTERVALS) in answer.json["error"]["message"]


def test_a_series_of_too_many_groups_is_an_error(series: Callable[..., Answer]) -> None:
    period = {"start_date": "2026-02-01", "end_date": "2026-04-02", "interval": "hour"}
    answer = series(group_by="model", top=100, **period)
    assert (answer.status, answer.json["error"]["message"]) == (400, "top: at most 34 for 1464 intervals")
    assert series(group_by="model", top=34, **period).status == series(top=100, **period).status == 200


@pytest.mark.parametrize("group_by", ["day", "model,day", "nothing", "model,provider,entity", "tags."])
def test_a_series_is_not_grouped_by_time_or_an_unknown_key(series: Callable[..., Answer], group_by: str) -> None:
    answer = series(group_by=group_by)
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith("group_by: ")


@st.composite
def _calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Calls near the ends of daylight saving of most zones, or at any time."""
    moments = st.one_of(
        st.integers(0, 4 * 86_400).map(lambda second: 1_774_656_000 + second),  # around 29 March 2026
        st.integers(1_767_225_600, 1_790_000_000),
    )
    costs = st.one_of(st.none(), st.integers(0, 10**30).map(lambda units: Decimal(units).scaleb(-18, EXACT)))
    found = []
    for _ in range(draw(st.integers(1, 25))):
        cost = draw(costs)
        found.append(
            {
                "timestamp_ns": draw(moments) * 10**9,
                "cost_usd": cost,
                "cost_status": "no_usage" if cost is None else "priced",
                "model": draw(st.sampled_from(("a", "b", "c", "d"))),
                "entity_id": draw(st.sampled_from((None, "x", "y", "'\\"))),
                "session_id": draw(st.sampled_from((None, "s", "t"))),
                "tags": draw(st.dictionaries(st.sampled_from(("env", "feature")), st.sampled_from(("", "p", "q")))),
                **(FAILED if draw(st.booleans()) else {}),
            }
        )
    return found


_numbers = itertools.count(1_000_000)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    _calls(),
    st.sampled_from(sorted(time_zones.names())),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(("day", "week", "month")),
    st.integers(1, 3),
)
def test_the_parts_of_any_calls_add_up_in_any_time_zone(
    backend: Backend, calls: list[dict[str, Any]], zone: str, group_by: str, interval: str, top: int
) -> None:
    key = backend.add_account()
    made = [event(next(_numbers), **call) for call in calls]
    assert backend.export(*map(span, made), key=key).rejected == 0
    period = {"start_date": "2025-12-28", "end_date": "2026-10-01", "time_zone": zone}
    body = backend.get(PATH, key, group_by=group_by, interval=interval, top=top, **period).json
    costs = backend.get("/v1/analytics/costs", key, group_by=group_by, **period).json
    for name in SUMS:
        total = _measured(made)[name]
        assert body["summary"][name] == costs["summary"][name] == total
        for rows in (body["data"], body["groups"], costs["data"]):
            assert _added(rows, name) == (total or 0)
        for row in body["data"]:
            assert _added(row["groups"], name) == (row[name] or 0)
    changed = backend.get(
        "/v1/analytics/changes",
        key,
        group_by=group_by,
        start_date="2026-03-29",
        end_date="2026-10-01",
        compare_start="2025-12-28",
        compare_end="2026-03-28",
        time_zone=zone,
    ).json
    for row in (*changed["data"], changed["summary"]):
        parts = [{"part": part} for part in row["parts"].values()]
        sides = EXACT.subtract(row["now"]["total_cost"] or 0, row["before"]["total_cost"] or 0)
        assert _added(parts, "part") == row["change"] == sides
