"""Days and times in every form of ISO 8601, and the errors of all other forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import event

from infraprism.backend.api.times import interval

DAY_FORMS = ("2026-10-31", "20261031", "2026-W44-6", "2026W446", "2026-304", "2026304")
INVALID = (
    "2026",
    "2026-10",
    "202610",
    "2026-W44",
    "2026W44",
    "2026-1031",
    "202610-31",
    "2026-10-32",
    "2026-02-29",
    "2026-W54-1",
    "2026-W44-8",
    "2026-W44-0",
    "2026-W446",
    "2026-366",
    "2026-000",
    "26-10-31",
    "+2026-10-31",
    "2026-10-31T",
    "2026-10-31T25:00",
    "2026-10-31T10:30:60",
    "2026-10-31T1:30",
    "2026-10-31T10:30+24:00",
    "2026-10-31T10:30+01:60",
    "2026-10-31/2026-11-01",
    "\u0662\u0660\u0662\u0666-10-31",
    " 2026-10-31",
    "2026-10-31 ",
    "1793404800",
    "yesterday",
    "",
)
OUTSIDE = ("1969-12-31", "1900-01-01", "0001-01-01", "0000-01-01", "2200-01-01", "9999-12-31", "9999-W52-7")


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.fixture(scope="module")
def get(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    times = ("2026-10-30T23:59:59Z", "2026-10-31T00:00:00Z", "2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z")
    with Backend(tmp_path_factory.mktemp("days") / "data") as running:
        events = [event(number, timestamp_ns=_ns(time), cost_usd=Decimal(1)) for number, time in enumerate(times, 1)]
        assert running.export(*map(span, events)).rejected == 0
        yield running.get


@pytest.mark.parametrize("day", DAY_FORMS)
def test_every_form_of_a_day_is_the_whole_day(get: Callable[..., Answer], day: str) -> None:
    summary = get("/v1/analytics/costs", start_date=day, end_date=day).json["summary"]
    assert (summary["total_cost"], summary["period"]) == (2, {"start": "2026-10-31", "end": "2026-10-31"})
    assert len(get("/v1/events", start_date=day, end_date=day).json["data"]) == 2
    assert get("/v1/analytics/costs", end_date=day).json["summary"]["total_events"] == 3
    assert get("/v1/analytics/costs", start_date=day, end_date="2026-11-30").json["summary"]["total_events"] == 3


@pytest.mark.parametrize(
    "time",
    [
        "2026-10-31T10:30:00Z",
        "20261031T103000Z",
        "20261031T1030",
        "2026-W44-6T10:30",
        "2026304T10:30:00,000",
        "2026-10-31 10:30",
        "2026-10-31t10:30:00z",
        "2026-10-31T12:30:00+02:00",
        "2026-10-31T12:30:00+0200",
        "2026-10-31T12:30:00 02:00",
        "2026-10-30T23:30-11",
    ],
)
def test_a_time_in_every_form_is_that_time(time: str) -> None:
    found = interval(time)
    assert found.first == found.last == datetime(2026, 10, 31, 10, 30, tzinfo=UTC)
    assert found.text == "2026-10-31T10:30:00Z"


@pytest.mark.parametrize("value", [*INVALID, *OUTSIDE])
def test_every_other_form_is_an_error_that_names_the_parameter(get: Callable[..., Answer], value: str) -> None:
    for path in ("/v1/events", "/v1/analytics/costs"):
        for name in ("start_date", "end_date"):
            answer = get(path, **{name: value})
            assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_parameter"), (path, name)
            assert answer.json["error"]["message"].startswith(f"{name}: a date such as 2026-01-31")


@pytest.mark.parametrize(
    "parameters",
    [
        {"end_date": "1970-01-01"},
        {"end_date": "1970-01-10"},
        {"end_date": "1970-01-01T00:00:00Z"},
        {"start_date": "1970-01-01"},
        {"start_date": "1970-001"},
        {"end_date": "2199-12-31"},
        {"start_date": "1970-01-01", "end_date": "2199-12-31"},
        {"start_date": "2199-12-20", "end_date": "2199-12-31"},
    ],
    ids=str,
)
def test_the_ends_of_the_calendar_work(get: Callable[..., Answer], parameters: dict[str, str]) -> None:
    for path in ("/v1/events", "/v1/analytics/costs"):
        assert get(path, **parameters).status == 200


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-02-01", "2026-01-31"),
        ("2026-01-31T10:00", "2026-01-31T09:59:59"),
        ("2026-W06-1", "2026-032"),
        ("2199-12-20", "1970-01-01"),
    ],
)
def test_a_start_after_the_end_is_an_error_that_names_both(get: Callable[..., Answer], start: str, end: str) -> None:
    for path in ("/v1/events", "/v1/analytics/costs"):
        answer = get(path, start_date=start, end_date=end)
        assert answer.status == 400
        assert " is before start_date " in answer.json["error"]["message"]


def test_a_long_range_is_not_shortened(tmp_path: Path) -> None:
    days = ("2020-01-01", "2023-06-30", "2026-01-31")
    with Backend(tmp_path / "data") as backend:
        events = [
            event(number, timestamp_ns=_ns(f"{day}T12:00:00Z"), cost_usd=Decimal(1))
            for number, day in enumerate(days, 1)
        ]
        assert backend.export(*map(span, events)).rejected == 0
        for parameters in ({"start_date": days[0]}, {"end_date": days[2]}):
            summary = backend.get("/v1/analytics/costs", **parameters).json["summary"]
            assert summary["total_cost"] == 3, parameters
