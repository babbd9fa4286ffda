"""The change of costs is split into parts that add up to it to the last digit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import event
from tests.kit.random_calls import EXACT, random_calls, sums

from infraprism.backend.analytics.bridge import PARTS, Cell, Measured, Weights, split
from infraprism.schema import Event

PATH = "/v1/analytics/changes"
EVENTS = random_calls(400)
JANUARY = {"compare_start": "2026-01-01", "compare_end": "2026-01-31"}
PERIODS = {"start_date": "2026-02-01", "end_date": "2026-03-31", **JANUARY}
_LAST_DIGIT = Decimal(1).scaleb(-18)

_costs = st.integers(0, 10**24).map(lambda units: Fraction(units, 10**18))
_tokens = st.one_of(st.none(), st.integers(0, 10**9))


@st.composite
def _measured(draw: st.DrawFn) -> Measured:
    calls = draw(st.integers(0, 1000))
    priced = draw(st.integers(0, calls))
    return Measured(
        calls,
        priced,
        draw(_costs) if priced else Fraction(0),
        draw(_tokens),
        draw(_tokens),
        draw(_tokens),
        draw(st.booleans()),
    )


_weights = st.builds(Weights, st.fractions(0, 20, max_denominator=50), st.fractions(0, 2, max_denominator=50))
_cells = st.lists(st.builds(Cell, _measured(), _measured(), _weights), max_size=6)


def _added(numbers: Iterable[Decimal | None]) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number or Decimal(0))
    return total


def _change(cells: Sequence[Cell]) -> Fraction:
    return sum((cell.now.cost - cell.before.cost for cell in cells), Fraction(0))


@given(_cells)
def test_the_parts_of_any_change_add_up_to_it(cells: list[Cell]) -> None:
    calls = sum(cell.before.calls for cell in cells), sum(cell.now.calls for cell in cells)
    parts = split(cells, *calls)
    assert tuple(parts) == PARTS
    assert Fraction(_added(parts.values())) == _change(cells)
    of_cells = [split([cell], *calls) for cell in cells]
    for part in PARTS:
        assert abs(_added(one[part] for one in of_cells) - parts[part]) <= _LAST_DIGIT * (len(cells) + 1)


BASE = Measured(100, 80, Fraction(10), 8000, 4000, 2000)
OTHER = Measured(50, 50, Fraction(3), 900, 100, 0)
WEIGHTS = Weights(Fraction(4), Fraction(1, 2))


@pytest.mark.parametrize(
    ("part", "now", "expected"),
    [
        (
            "volume",
            dataclasses.replace(BASE, calls=200, priced=160, cost=Fraction(20), input=16000, output=8000, cached=4000),
            10,
        ),
        ("unpriced", dataclasses.replace(BASE, priced=40, cost=Fraction(5), input=4000, output=2000, cached=1000), -5),
        ("length", dataclasses.replace(BASE, cost=Fraction(20), input=16000, output=8000, cached=4000), 10),
        ("price", dataclasses.replace(BASE, cost=Fraction(7)), -3),
        # 8000 + 4 * 4000 = 24000 tokens, of which 1000 were not billed, and 3000 are not billed now.
        ("cache", dataclasses.replace(BASE, cost=Fraction(10) * 21 / 23, cached=6000), Fraction(-20, 23)),
        ("unsplit", dataclasses.replace(BASE, cost=Fraction(12), is_partial=True), 2),
    ],
)
def test_a_change_of_one_factor_is_one_part(part: str, now: Measured, expected: Fraction | int) -> None:
    parts = split([Cell(BASE, now, WEIGHTS)], BASE.calls, now.calls)
    assert parts.pop(part) == pytest.approx(Decimal(Fraction(expected).numerator) / Fraction(expected).denominator)
    assert set(parts.values()) == {0}


def test_calls_of_another_model_are_mix() -> None:
    cells = [
        Cell(
            BASE, dataclasses.replace(BASE, calls=50, priced=40, cost=Fraction(5), input=4000, output=2000, cached=1000)
        ),
        Cell(OTHER, dataclasses.replace(OTHER, calls=100, priced=100, cost=Fraction(6), input=1800, output=200)),
    ]
    parts = split(cells, 150, 150)
    assert parts.pop("mix") == -2
    assert set(parts.values()) == {0}


def test_a_model_that_appears_or_disappears_is_mix_and_first_calls_are_volume() -> None:
    nothing = Measured()
    assert (
        split([Cell(BASE, nothing), Cell(nothing, dataclasses.replace(BASE, cost=Fraction(7)))], 100, 100)["mix"] == -3
    )
    assert split([Cell(nothing, BASE)], 0, 100)["volume"] == 10
    assert split([Cell(BASE, nothing)], 100, 0)["volume"] == -10


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("changes") / "data") as running:
        assert running.export(*map(span, EVENTS)).rejected == 0
        yield running


@pytest.fixture(scope="module")
def changes(backend: Backend) -> Callable[..., Answer]:
    return lambda **parameters: backend.get(PATH, **parameters)


def _side(events: list[Event]) -> dict[str, Any]:
    names = ("total_cost", "total_events", "unpriced_events")
    return {name: sums(events)[name] for name in names} if events else dict.fromkeys(names, 0)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("group_by", ["model", "entity", "session,provider", "tags.feature", "tags.env,model", None])
def test_the_parts_of_each_group_add_up_to_its_change_and_to_those_of_the_whole(
    changes: Callable[..., Answer], group_by: str | None, zone: str
) -> None:
    grouping = {"group_by": group_by} if group_by else {}
    body = changes(time_zone=zone, **grouping, **PERIODS).json
    local = [(one.timestamp.astimezone(ZoneInfo(zone)).date(), one) for one in EVENTS]
    before = [one for day, one in local if date(2026, 1, 1) <= day <= date(2026, 1, 31)]
    now = [one for day, one in local if date(2026, 2, 1) <= day <= date(2026, 3, 31)]
    summary = body["summary"]
    assert (summary["now"], summary["before"]) == (_side(now), _side(before))
    for row in (*body["data"], summary):
        change = EXACT.subtract(row["now"]["total_cost"], row["before"]["total_cost"] or 0)
        assert _added(row["parts"].values()) == row["change"] == change
    if group_by:
        for part in PARTS:
            assert _added(row["parts"][part] for row in body["data"]) == (summary["parts"][part] or 0)
        for period in ("now", "before"):
            assert sum(row[period]["total_events"] for row in body["data"]) == summary[period]["total_events"]
        sizes = [EXACT.abs(row["change"]) for row in body["data"]]
        assert sizes == sorted(sizes, reverse=True)
    assert (summary["period"]["start"], summary["previous_period"]["end"]) == ("2026-02-01", "2026-01-31")


def _ns(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9


def test_the_effect_of_the_cache_is_known_with_usage_detail(backend: Backend) -> None:
    key = backend.add_account(usage_detail=True)
    calls = [("2026-01-10", 0, "0.0025"), ("2026-02-10", 500, "0.001875")]
    for number, (day, cached, cost) in enumerate(calls, 5000):
        one = event(
            number,
            timestamp_ns=_ns(day),
            input_tokens=1000,
            output_tokens=0,
            cost_usd=Decimal(cost),
            cache_read_tokens=cached,
        )
        assert backend.export(span(one, usage_detail=True), key=key).rejected == 0
    parts = backend.get(PATH, key, **PERIODS).json["summary"]["parts"]
    # gpt-4o bills half the price for a token that is read from the cache.
    assert parts == {**dict.fromkeys(PARTS, 0), "cache": Decimal("-0.000625")}
    assert backend.get(PATH, **PERIODS).json["summary"]["parts"]["cache"] is None


def test_the_default_is_the_period_before_and_none_is_an_error(changes: Callable[..., Answer]) -> None:
    summary = changes(start_date="2026-02-01", end_date="2026-02-28").json["summary"]
    assert summary["previous_period"] == {"start": "2026-01-04", "end": "2026-01-31"}
    answer = changes(compare="none")
    assert (answer.status, answer.json["error"]["message"].partition(":")[0]) == (400, "compare")


def test_without_events_nothing_changed(changes: Callable[..., Answer]) -> None:
    body = changes(start_date="2025-01-01", end_date="2025-01-02", group_by="model").json
    assert (body["data"], body["summary"]["change"]) == ([], 0)
    assert body["summary"]["now"] == {"total_cost": 0, "total_events": 0, "unpriced_events": 0}
