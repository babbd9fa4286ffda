"""Every analytics response is the same, whether a measured row is one call or the sum of several."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.kit.backend import KEY, Backend, span
from tests.kit.command import clean_environment
from tests.kit.random_calls import random_calls

_SERVER_THAT_READS_SUMS = """
import sys
from pathlib import Path
from infraprism.backend.serving import startup
from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.store.measured_rows import TOKEN_FIELDS, Relation

SUMS = ("calls", "failed_calls", "unpriced_calls", "unpriced_failed_calls", "total_cost", "latency_ms", *TOKEN_FIELDS,
        *(f"calls_without_{name}" for name in TOKEN_FIELDS))

def sums(request):
    rows = measured_rows(request)
    tags = (("tag_value", request.tag_key), ("other_tag_value", request.other_tag_key))
    columns = ("time", *request.dimensions, *(name for name, key in tags if key))
    columns += ("tag_key", "tag_value") if request.every_tag else ()
    keys = ", ".join(f"r.{name}" for name in columns)
    named = ", ".join(f"sum(r.{name}) AS {name}" for name in SUMS)
    if request.with_times:
        named += ", min(r.first_time) AS first_time, max(r.last_time) AS last_time"
    return Relation(
        f"(SELECT {keys}, {named}, sumMap(r.latency) AS latency FROM {rows.sql} AS r GROUP BY {keys})", rows.parameters
    )

Services = startup.Services
startup.Services = lambda *values, **more: Services(*values, **more)._replace(measured_rows=sums)
from infraprism.backend.server import Settings, run
sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))
"""
EVENTS = random_calls(300, days=90)
DATES = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
GROUPS = (
    "model",
    "entity",
    "provider,cost_status",
    "tags.feature",
    "tags.env,session",
    "tags.env,tags.feature",
    "error_type",
)
FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"model": "m3", "success": "false"},
    {"none": "entity", "tags": "feature:chat"},
    {"tags": "feature:,env:prod", "time_zone": "Asia/Kathmandu"},
    {"cost_status": "priced", "none": "tags.env", "time_zone": "America/New_York"},
)
REQUESTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/v1/analytics/costs", DATES),
    ("/v1/analytics/costs", {"start_date": "2026-02-15", "end_date": "2026-03-31", "compare": "previous"}),
    ("/v1/analytics/costs/timeseries", {**DATES, "top": "2"}),
    ("/v1/analytics/costs/timeseries", {"start_date": "2026-03-20", "end_date": "2026-03-31", "interval": "hour"}),
    ("/v1/analytics/latency", DATES),
    ("/v1/analytics/errors", DATES),
    ("/v1/analytics/changes", {"start_date": "2026-02-15", "end_date": "2026-03-31"}),
    ("/v1/analytics/distribution", {**DATES, "per": "event"}),
    ("/v1/analytics/distribution", {**DATES, "per": "session", "of": "total_tokens"}),
    ("/v1/analytics/distribution", {**DATES, "per": "entity", "of": "latency_ms"}),
)


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Backend, Backend]]:
    """A server that reads calls, and one that reads sums."""
    directory = tmp_path_factory.mktemp("sums") / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER_THAT_READS_SUMS, str(directory)],
        env=clean_environment(INFRAPRISM_API_KEY=KEY),
        cwd=directory.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Backend(tmp_path_factory.mktemp("calls") / "data") as calls, Backend.running(process, directory) as sums:
        for running in (calls, sums):
            assert running.export(*map(span, EVENTS)).rejected == 0
        yield calls, sums


@pytest.mark.parametrize(("path", "parameters"), REQUESTS, ids=str)
def test_sums_of_calls_give_the_response_of_single_calls(
    backends: tuple[Backend, Backend], path: str, parameters: dict[str, str]
) -> None:
    for group_by, filters in (*zip(GROUPS, itertools.cycle(FILTERS), strict=False), *((None, one) for one in FILTERS)):
        grouping = {"group_by": group_by} if group_by else {}
        answers = [one.get(path, **parameters, **grouping, **filters) for one in backends]
        assert [answer.status for answer in answers] == [200, 200], (group_by, filters)
        assert answers[0].body == answers[1].body, (group_by, filters)


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/models", "/v1/tags"])
def test_lists_from_sums_of_calls_are_those_of_single_calls(backends: tuple[Backend, Backend], path: str) -> None:
    for filters in FILTERS:
        answers = [one.get(path, **DATES, **filters) for one in backends]
        assert answers[0].body == answers[1].body, filters
        assert answers[0].status == 200
        assert answers[0].json["data"]


def test_the_number_of_events_from_sums_of_calls_is_that_of_the_events(backends: tuple[Backend, Backend]) -> None:
    for filters in FILTERS:
        totals = [one.get("/v1/events", **DATES, **filters, limit="1000").json for one in backends]
        assert [found["pagination"]["total"] for found in totals] == [len(found["data"]) for found in totals], filters


def test_entities_from_sums_of_calls_are_those_of_single_calls(backends: tuple[Backend, Backend]) -> None:
    for parameters in ({}, {"type": "customer"}, {"limit": "1", "offset": "1"}):
        answers = [one.get("/v1/entities", **parameters) for one in backends]
        assert answers[0].body == answers[1].body, parameters
        assert answers[0].status == 200
        assert answers[0].json["data"]


def test_the_values_of_a_field_are_those_of_single_calls(backends: tuple[Backend, Backend]) -> None:
    for field, filters in itertools.product(("model", "entity_id", "tags.feature"), FILTERS):
        answers = [one.get("/v1/values", field=field, **DATES, **filters) for one in backends]
        assert answers[0].body == answers[1].body
        assert answers[0].status == 200
