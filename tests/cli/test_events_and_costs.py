from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.command import clean_environment, infraprism

from infraprism.cli import exact_json
from infraprism.schema import Event


def lines(*arguments: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    ran = infraprism(*arguments, "--json", environment=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [exact_json.loads(line) for line in ran.stdout.splitlines()]


def test_json_contains_every_event_of_every_page_exactly(environment: dict[str, str], stored: list[Event]) -> None:
    found = lines("events", environment=environment)
    assert [event["id"] for event in found] == [event.id for event in stored]
    assert [event["cost_usd"] for event in found] == [event.cost_usd for event in stored]
    assert [event["tags"] for event in found] == [dict(event.tags) for event in stored]


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [
        (["--failed"], lambda event: not event.success),
        (["--entity", "customer:customer-3"], lambda event: event.entity_id == "customer-3"),
        (["--model", "claude-haiku-4-5", "--limit", "7"], lambda event: event.model == "claude-haiku-4-5"),
        (["--session", "session-1"], lambda event: event.session_id == "session-1"),
        (["--tag", "feature:search, deep"], lambda event: event.tags == (("feature", "search, deep"),)),
        (["--start", "2200-01-01", "--end", "2200-01-01"], None),
        (["--end", "1990-01-01"], lambda event: False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_filters_select_events(
    environment: dict[str, str], stored: list[Event], arguments: list[str], selected: Any
) -> None:
    if selected is None:
        ran = infraprism("events", *arguments, environment=environment)
        assert ran.returncode == 1
        assert ran.stderr.startswith("infraprism: ")
        assert len(ran.stderr.splitlines()) == 1
        return
    expected = [event.id for event in stored if selected(event)]
    if "--limit" in arguments:
        expected = expected[: int(arguments[-1])]
    assert [event["id"] for event in lines("events", *arguments, environment=environment)] == expected


def test_the_table_lists_the_newest_events_and_a_note_that_there_are_more(environment: dict[str, str]) -> None:
    ran = infraprism("events", "--limit", "5", environment=environment)
    assert ran.returncode == 0
    heading, *rows, summary = ran.stdout.splitlines()
    assert heading.split()[:2] in (["UTC", "model"], ["UTC", "model"])
    assert len(rows) == 5
    assert summary.startswith("5 events, 0.000000000000000012 USD; without a price: 1 unknown_model")
    assert "The newest 5" in ran.stderr


@pytest.mark.parametrize(
    ("by", "of"),
    [
        ("entity", lambda event: (event.entity_type, event.entity_id)),
        ("model", lambda event: (event.model,)),
        ("provider", lambda event: (event.provider,)),
        ("session", lambda event: (event.session_id,)),
        ("tag.feature", lambda event: (dict(event.tags)["feature"],)),
        ("day", lambda event: (str(event.timestamp.date()),)),
    ],
)
def test_costs_are_the_exact_sums_of_their_groups(
    environment: dict[str, str], stored: list[Event], by: str, of: Any
) -> None:
    sums: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for event in stored:
        sums[of(event)] += event.cost_usd or 0
    found = lines("costs", "--by", by, environment=environment)
    keys = [key for key in found[0] if not key.startswith(("total_", "avg_", "unpriced"))]
    assert {tuple(row[key] for key in keys): row["total_cost"] for row in found} == dict(sums)
    shown = infraprism("costs", "--by", by, environment=environment).stdout.splitlines()
    assert len(shown) == len(found) + 2
    assert shown[0].split()[0] == by
    assert f"{len(stored)} events, {len(stored) // 3} without a price, 0.0000000" in shown[-1]


def test_costs_can_be_filtered_by_time_and_model(environment: dict[str, str], stored: list[Event]) -> None:
    today = str(datetime.now(UTC).date())
    found = lines(
        "costs", "--by", "model", "--start", "2020-01-01", "--end", today, "--model", "gpt-4o", environment=environment
    )
    expected = [event for event in stored if event.model == "gpt-4o" and str(event.timestamp.date()) <= today]
    assert [(row["model"], row["total_events"]) for row in found] == [("gpt-4o", len(expected))]


def test_a_closed_pipe_ends_the_command_without_an_error(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "infraprism.cli", "events", "--json"]
    with subprocess.Popen(
        command, env=clean_environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert reading.stdout.readline()
        reading.stdout.close()
        errors = reading.stderr.read()
    assert (reading.returncode, errors) == (0, b"")


def test_a_wrong_key_is_an_error_of_one_line_without_the_key(environment: dict[str, str]) -> None:
    ran = infraprism("events", environment=environment | {"INFRAPRISM_API_KEY": "ip-not-the-key-of-an-account"})
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1
    assert "check INFRAPRISM_API_KEY" in ran.stderr
    assert "of-an-account" not in ran.stderr


def test_the_doctor_reports_no_problem_for_a_working_setup(environment: dict[str, str]) -> None:
    ran = infraprism("doctor", "--json", environment=environment)
    found = [exact_json.loads(line) for line in ran.stdout.splitlines()]
    assert [finding for finding in found if finding["level"] != "ok"] == []
    assert ran.returncode == 0
    assert environment["INFRAPRISM_API_KEY"] not in ran.stdout
