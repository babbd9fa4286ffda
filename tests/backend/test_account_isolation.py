"""No path returns anything of another account, and each needs a key."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.kit.backend import Backend, span
from tests.kit.random_calls import random_calls

DATES = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
REQUESTS: dict[str, dict[str, str]] = {
    "/v1/events": DATES,
    "/v1/entities": {},
    "/v1/analytics/costs": {**DATES, "group_by": "model,entity"},
    "/v1/analytics/costs/timeseries": {**DATES, "group_by": "session"},
    "/v1/analytics/latency": {**DATES, "group_by": "model"},
    "/v1/analytics/errors": {**DATES, "group_by": "model"},
    "/v1/analytics/changes": {"start_date": "2026-02-01", "end_date": "2026-03-31", "group_by": "entity"},
    "/v1/analytics/distribution": {**DATES, "per": "session", "group_by": "model"},
    "/v1/analytics/forecast": {},
    "/v1/sessions": DATES,
    "/v1/models": {},
    "/v1/values": {**DATES, "field": "entity_id"},
    "/v1/tags": DATES,
}
_OF_EVENTS = re.compile(rb"acme|globex|gpt-4o|claude-x|m3|s1|feature|rate_limit|evt_")


@pytest.fixture(scope="module")
def keys(backend: Backend) -> tuple[str, str]:
    """Keys of an account with events and of one without."""
    found = backend.add_account(), backend.add_account()
    assert backend.export(*map(span, random_calls(100, first=60_000)), key=found[0]).rejected == 0
    return found


@pytest.mark.parametrize("path", REQUESTS)
def test_an_account_sees_only_its_own_events(backend: Backend, keys: tuple[str, str], path: str) -> None:
    owner, other = (backend.get(path, key, **REQUESTS[path]) for key in keys)
    assert owner.status == other.status == 200
    assert not _OF_EVENTS.search(other.body), other.body
    if path != "/v1/analytics/forecast":  # of the current month
        assert _OF_EVENTS.search(owner.body)
    counted = re.findall(rb'"(?:total_events|count|total)":(\d+)', other.body)
    assert set(counted) <= {b"0"}


def test_a_session_of_another_account_is_not_found(backend: Backend, keys: tuple[str, str]) -> None:
    assert [backend.get("/v1/sessions/s1", key).status for key in keys] == [200, 404]


@pytest.mark.parametrize("path", [*REQUESTS, "/v1/sessions/s1"])
def test_each_path_needs_a_key_and_counts_against_the_rate_limit(backend: Backend, path: str) -> None:
    answer = backend.get(path, "ip-not-a-key-of-this-server", **REQUESTS.get(path, {}))
    assert (answer.status, answer.json["error"]["code"]) == (401, "unauthenticated")
    answer = backend.get(path, **REQUESTS.get(path, {}))
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= {
        name.lower() for name in answer.headers
    }


def test_every_path_that_reads_events_is_tested_here(backend: Backend) -> None:
    paths = json.loads(backend.http("/openapi.json", None, {}).body)["paths"]
    reading = ("/v1/events", "/v1/entities", "/v1/analytics/", "/v1/sessions", "/v1/models", "/v1/values", "/v1/tags")
    known = {*REQUESTS, "/v1/events/{event_id}", "/v1/sessions/{session_id}"}
    assert {path for path in paths if path.startswith(reading)} == known


def test_concurrent_queries_of_all_paths_are_answered(backend: Backend, keys: tuple[str, str]) -> None:
    def ask(path: str) -> int:
        return backend.get(path, keys[0], **REQUESTS[path]).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, [*REQUESTS, *REQUESTS])) == {200}
