"""Which parts of a period are answered beyond retention."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest

from infraprism.backend.analytics.time_zones import milliseconds
from infraprism.backend.retention.coverage import Coverage, NothingRetainedError, answers


def at_ms(text: str) -> int:
    return milliseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


CUTOFF_MS = at_ms("2026-03-10")
KOLKATA = ("UTC", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("first", "end", "zones", "expected"),
    [
        ("2026-03-01", "2026-03-05", KOLKATA, [("2026-03-01", "2026-03-05", "sums")]),
        (
            "2026-02-28T18:30",
            "2026-03-04T18:30",
            KOLKATA,
            [("2026-02-28T18:30", "2026-03-04T18:30", "sums"), ("2026-03-01", "2026-03-04", "whole_days")],
        ),
        (
            "2026-02-28T18:30",
            "2026-03-12T18:30",
            KOLKATA,
            [
                ("2026-02-28T18:30", "2026-03-12T18:30", "sums"),
                ("2026-03-01", "2026-03-12T18:30", "whole_days"),
                ("2026-03-10", "2026-03-12T18:30", "excluded"),
            ],
        ),
        ("2026-02-28T18:30", "2026-03-04T18:30", ("UTC",), [("2026-03-01", "2026-03-04", "whole_days")]),
        ("2026-02-28T18:00", "2026-03-04T18:30", KOLKATA, [("2026-03-01", "2026-03-04", "whole_days")]),
        ("2026-03-11T01:00", "2026-03-12", KOLKATA, [("2026-03-11T01:00", "2026-03-12", None)]),
    ],
)
def test_the_most_complete_part_comes_first(
    first: str, end: str, zones: tuple[str, ...], expected: list[tuple[str, str, str | None]]
) -> None:
    found = answers(at_ms(first), at_ms(end), CUTOFF_MS, zones=zones, has_sums=True)
    assert [one._replace(earlier=None) for one in islice(found, len(expected))] == [
        Coverage(at_ms(start), at_ms(stop), None) for start, stop, _ in expected
    ]
    again = answers(at_ms(first), at_ms(end), CUTOFF_MS, zones=zones, has_sums=True)
    assert [one.earlier for one in islice(again, len(expected))] == [earlier for *_, earlier in expected]


@pytest.mark.parametrize(
    ("first", "end", "has_sums"), [("2026-03-01", "2026-03-05", False), ("2026-03-01T01:00", "2026-03-01T02:00", True)]
)
def test_a_period_without_an_answer_is_an_error(first: str, end: str, has_sums: bool) -> None:
    with pytest.raises(NothingRetainedError):
        list(answers(at_ms(first), at_ms(end), CUTOFF_MS, zones=KOLKATA, has_sums=has_sums))
