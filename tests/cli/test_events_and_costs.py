from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment, infraprism
from tests.kit.events import event as event_of

from infraprism.schema import Event, exact_json


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
    keys = [key for key in found[0] if not key.startswith(("total_", "avg_", "unpriced", "failed", "error"))]
    assert {tuple(row[key] for key in keys): row["total_cost"] for row in found} == dict(sums)
    shown = infraprism("costs", "--by", by, environment=environment).stdout.splitlines()
    assert len(shown) == len(found) + 2
    assert shown[0].split()[0] == by
    failed = sum(not event.success for event in stored)
    unpriced = sum(event.success and event.cost_usd is None for event in stored)
    assert f"{len(stored)} events, {failed} failed (20.0 %), {unpriced} without a price, 0.0000000" in shown[-1]


def test_failed_calls_and_unpriced_calls_are_separate_columns(environment: dict[str, str], stored: list[Event]) -> None:
    heading, *rows, _ = infraprism("costs", "--by", "entity", environment=environment).stdout.splitlines()
    assert heading.split("  ")[-1].strip() == "avg ms"
    assert heading.split()[:7] == ["entity", "cost_usd", "events", "failed", "error", "%", "unpriced"]
    for row in rows:
        name, _, count, failed, percent, unpriced = row.split()[:6]
        of = [event for event in stored if f"customer:{event.entity_id}" == name]
        assert int(count) == len(of)
        assert int(failed) == sum(not event.success for event in of)
        assert Decimal(percent) == round(Decimal(100) * int(failed) / len(of), 1)
        assert int(unpriced) == sum(event.success and event.cost_usd is None for event in of)


@pytest.mark.parametrize("groups", [("model", "entity"), ("entity", "tag.feature"), ("day", "model")], ids=str)
def test_two_groups_are_the_exact_sums_of_each_pair(
    environment: dict[str, str], stored: list[Event], groups: tuple[str, str]
) -> None:
    of: dict[str, Any] = {
        "model": lambda event: (event.model,),
        "entity": lambda event: (event.entity_type, event.entity_id),
        "tag.feature": lambda event: (dict(event.tags)["feature"],),
        "day": lambda event: (str(event.timestamp.date()),),
    }
    sums: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for event in stored:
        sums[sum((of[group](event) for group in groups), ())] += event.cost_usd or 0
    arguments = [part for group in groups for part in ("--by", group)]
    found = lines("costs", *arguments, environment=environment)
    keys = [key for key in found[0] if not key.startswith(("total_", "avg_", "unpriced", "failed", "error"))]
    assert {tuple(row[key] for key in keys): row["total_cost"] for row in found} == dict(sums)
    shown = infraprism("costs", *arguments, environment=environment).stdout.splitlines()
    assert tuple(shown[0].split()[:2]) == groups
    assert lines("costs", "--by", ",".join(groups), environment=environment) == found
    assert len(shown) == len(found) + 2


def test_a_start_without_an_end_means_until_now(environment: dict[str, str], stored: list[Event]) -> None:
    shown = infraprism("costs", "--start", "2020-01-01", environment=environment).stdout.splitlines()
    assert shown[-1].startswith(f"{len(stored)} events,")
    assert " 2020-01-01 to 20" in shown[-1]
    until = infraprism("costs", "--end", "20200131", environment=environment).stdout
    assert until == "No events until 2020-01-31.\n"


@pytest.mark.parametrize("command", ["events", "costs"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "2026-02-01", "--end", "20260131"], "--end: 2026-01-31 is before --start 2026-02-01"),
        (["--end", "2200-01-01"], "--end: a date such as "),
        (["--provider", "acme"], "--provider: one of "),
        (["--session", "x" * 300], "--session: "),
        (["--entity", "team:" + "x" * 300], "--entity: "),
        (["--model", "x" * 300], "--model: "),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_an_error_of_the_server_names_the_option(
    environment: dict[str, str], command: str, arguments: list[str], message: str
) -> None:
    ran = infraprism(command, *arguments, environment=environment)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"infraprism: {message}")
    assert len(ran.stderr.splitlines()) == 1


def test_the_model_filter_finds_snapshots_and_prefixed_names_and_the_output_names_them(backend: Backend) -> None:
    key = backend.add_account()
    models = ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "gpt-4o-mini")
    made = [event_of(number, model=model, timestamp_ns=time.time_ns()) for number, model in enumerate(models, 1)]
    assert backend.export(*map(span, made), key=key).rejected == 0
    environment = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key}
    costs = infraprism("costs", "--model", "gpt-4o", environment=environment).stdout.splitlines()
    assert costs[-2].startswith("3 events, 0.0195 USD")
    assert costs[-1] == "--model gpt-4o finds gpt-4o, gpt-4o-2024-08-06, openai/gpt-4o"
    for row in lines("costs", "--model", "gpt-4o", "--by", "provider,day", environment=environment):
        assert row["models"] == ["gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o"]
    events = infraprism("events", "--model", "gpt-4o", environment=environment).stdout.splitlines()
    assert events[-1] == "--model gpt-4o includes gpt-4o-2024-08-06, openai/gpt-4o"
    assert len(lines("events", "--model", "gpt-4o-2024-08-06", environment=environment)) == 1


def test_the_other_groups_of_the_top_are_one_row(environment: dict[str, str], stored: list[Event]) -> None:
    every = lines("costs", "--by", "entity", environment=environment)
    top = lines("costs", "--by", "entity", "--top", "2", environment=environment)
    assert top == every[:2]
    heading, *rows, totals = infraprism(
        "costs", "--by", "entity", "--top", "2", environment=environment
    ).stdout.splitlines()
    assert heading.split()[:3] == ["entity", "cost_usd", "events"]
    others = rows[-1].split()
    assert (len(rows), others[0]) == (3, "(others)")
    assert Decimal(others[1]) == sum(row["total_cost"] for row in every[2:])
    assert int(others[2]) == len(stored) - sum(row["total_events"] for row in top)
    assert totals.startswith(f"{len(stored)} events,")
    complete = infraprism("costs", "--by", "entity", "--top", str(len(every)), environment=environment).stdout
    assert "(others)" not in complete


def test_costs_are_compared_with_the_period_before(backend: Backend) -> None:
    key = backend.add_account()
    now_ns, day_ns = time.time_ns(), 86_400 * 10**9
    made = [
        event_of(1, timestamp_ns=now_ns, cost_usd=Decimal("0.3"), model="a"),
        event_of(2, timestamp_ns=now_ns - 40 * day_ns, cost_usd=Decimal("0.2"), model="a"),
        event_of(3, timestamp_ns=now_ns - 40 * day_ns, cost_usd=Decimal("0.05"), model="b"),
        event_of(4, timestamp_ns=now_ns, cost_usd=None, cost_status="no_usage", model="c"),
    ]
    assert backend.export(*map(span, made), key=key).rejected == 0
    environment = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key}
    arguments = ("costs", "--by", "model", "--compare", "previous")
    heading, *rows, totals = infraprism(*arguments, environment=environment).stdout.splitlines()
    assert heading.split()[:5] == ["model", "cost_usd", "before", "change", "%"]
    cells = {row.split()[0]: row.split()[1:6] for row in rows}
    assert cells == {
        "a": ["0.3", "0.2", "0.1", "+50", "1"],
        "b": ["0", "0.05", "-0.05", "-100", "0"],
        "c": ["-", "0", "-", "-", "1"],
    }
    assert "; before 0.25 USD, 20" in totals
    *_, others, totals = infraprism(*arguments, "--top", "1", environment=environment).stdout.splitlines()
    assert others.split()[:4] == ["(others)", "-", "0.05", "-"]  # a part of them has no price
    assert lines(*arguments, environment=environment)[0]["previous"]["total_cost"] == Decimal("0.2")


def test_days_are_those_of_the_time_zone(backend: Backend) -> None:
    key = backend.add_account()
    time_ns = int(datetime(2026, 1, 31, 20, tzinfo=UTC).timestamp()) * 10**9
    assert backend.export(span(event_of(1, timestamp_ns=time_ns)), key=key).rejected == 0
    environment = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key}
    arguments = ("costs", "--by", "day", "--start", "2026-02-01", "--end", "2026-02-01")
    assert infraprism(*arguments, environment=environment).stdout.startswith("No events")
    zoned = (*arguments, "--time-zone", "Asia/Kathmandu")
    assert lines(*zoned, environment=environment)[0]["day"] == "2026-02-01"
    assert infraprism(*zoned, environment=environment).stdout.endswith("2026-02-01 to 2026-02-01 (Asia/Kathmandu)\n")
    ran = infraprism(*arguments, "--time-zone", "Mars", environment=environment)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("infraprism: --time-zone: the IANA name of a time zone")


def test_costs_can_be_filtered_by_status_error_and_absence(environment: dict[str, str], stored: list[Event]) -> None:
    unpriced = lines("costs", "--by", "model", "--cost-status", "unknown_model", environment=environment)
    assert sum(row["total_events"] for row in unpriced) == sum(one.cost_status == "unknown_model" for one in stored)
    failed = {one.error_type for one in stored if not one.success}
    for error in failed - {None}:
        rows = lines("costs", "--by", "model", "--error", str(error), environment=environment)
        assert sum(row["total_events"] for row in rows) == sum(one.error_type == error for one in stored)
    rows = lines("costs", "--by", "model", "--none", "session", environment=environment)
    assert sum(row["total_events"] for row in rows) == sum(one.session_id is None for one in stored)
    for arguments in (["--none", "model"], ["--top", "0"], ["--top", "x"], ["--compare", "year"]):
        assert infraprism("costs", *arguments, environment=environment).returncode == 2


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y%m%d", "%G-W%V-%u", "%GW%V%u", "%Y-%j", "%Y%j"])
def test_every_form_of_a_day_is_an_argument(environment: dict[str, str], stored: list[Event], form: str) -> None:
    first = min(event.timestamp for event in stored).strftime(form)
    last = datetime.now(UTC).strftime(form)
    shown = infraprism("costs", "--start", first, "--end", last, environment=environment).stdout.splitlines()
    assert shown[-1].startswith(f"{len(stored)} events,")


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
    of_tests = {"boto3", "botocore"}  # the tests of backups use them
    assert [finding for finding in found if finding["level"] != "ok" and finding["subject"] not in of_tests] == []
    assert ran.returncode == 0
    assert environment["INFRAPRISM_API_KEY"] not in ran.stdout
