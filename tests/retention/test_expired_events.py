"""Expired events are in no answer; sums of whole days are, and say so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.random_calls import random_calls
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.retention.retained_events import RetainedEvents
from infraprism.schema import Event

CUTOFF = datetime(2026, 3, 2, tzinfo=UTC)
DATES = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
CALLS = random_calls(300, seed=3)
EXPIRED = [one for one in CALLS if one.timestamp_ns < CUTOFF.timestamp() * 10**9]
KEPT = [one for one in CALLS if one not in EXPIRED]
SINCE = "2026-03-02T00:00:00Z"
OF_EVENTS: dict[str, tuple[str, dict[str, str]]] = {
    "sessions": ("/v1/sessions", DATES),
    "distribution of events": ("/v1/analytics/distribution", DATES),
    "distribution of sessions": ("/v1/analytics/distribution", {**DATES, "per": "session"}),
    "costs by session": ("/v1/analytics/costs", {**DATES, "group_by": "session"}),
    "costs of a session": ("/v1/analytics/costs", {**DATES, "session_id": "s1"}),
    "costs by two tags": ("/v1/analytics/costs", {**DATES, "group_by": "tags.feature,tags.env"}),
    "costs with two filters of tags": ("/v1/analytics/costs", {**DATES, "tags": "feature:chat", "none": "tags.env"}),
    "costs by days of another zone": ("/v1/analytics/costs", {**DATES, "group_by": "day", "time_zone": "Asia/Tokyo"}),
    "hours": ("/v1/analytics/costs/timeseries", {**DATES, "interval": "hour", "start_date": "2026-02-01"}),
    "latency by session": ("/v1/analytics/latency", {**DATES, "group_by": "session"}),
    "errors by session": ("/v1/analytics/errors", {**DATES, "group_by": "session"}),
    "values of sessions": ("/v1/values", {**DATES, "field": "session_id"}),
    "tags of a session": ("/v1/tags", {**DATES, "session_id": "s1"}),
    "models of a session": ("/v1/models", {"session_id": "s1"}),
}
SUMS: dict[str, tuple[str, dict[str, str]]] = {
    "costs": ("/v1/analytics/costs", {**DATES, "group_by": "model,entity"}),
    "costs by month": ("/v1/analytics/costs", {**DATES, "group_by": "month"}),
    "costs by tag": ("/v1/analytics/costs", {**DATES, "group_by": "tags.feature"}),
    "days": ("/v1/analytics/costs/timeseries", {**DATES, "group_by": "entity"}),
    "latency": ("/v1/analytics/latency", {**DATES, "group_by": "model"}),
    "errors": ("/v1/analytics/errors", DATES),
    "changes": ("/v1/analytics/changes", {"start_date": "2026-02-15", "end_date": "2026-03-31"}),
    "distribution of entities": ("/v1/analytics/distribution", {**DATES, "per": "entity"}),
    "models": ("/v1/models", {}),
    "entities": ("/v1/entities", {}),
    "values": ("/v1/values", {**DATES, "field": "model"}),
    "tags": ("/v1/tags", DATES),
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedBackend]:
    with TimedBackend(tmp_path_factory.mktemp("retention") / "data", "2026-04-01T12:00") as running:
        yield running


@pytest.fixture(scope="module")
def keys(backend: TimedBackend) -> tuple[str, str, str]:
    """Keys of accounts with all events, with those of 30 days, and with the same that never had others."""
    found = backend.add_account(), backend.add_account(), backend.add_account()
    for key, calls in zip(found, (CALLS, CALLS, KEPT), strict=True):
        assert backend.export(*map(span, calls), key=key).rejected == 0
    backend.set_period(backend.account_id(found[1]), 30)
    deadline = time.monotonic() + 20
    while len(backend.events(found[1])) != len(KEPT):
        assert time.monotonic() < deadline
    return found


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        names = {"events_since", "earlier", "incomplete", "next_cursor"}
        return {name: _without_notes(one) for name, one in value.items() if name not in names}
    return [_without_notes(one) for one in value] if isinstance(value, list) else value


def _period(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body.get("period") or body.get("summary", {}).get("period") or {}
    return found


@pytest.mark.parametrize("name", OF_EVENTS)
def test_a_question_about_events_is_answered_without_the_expired_ones(
    backend: Backend, keys: tuple[str, str, str], name: str
) -> None:
    path, parameters = OF_EVENTS[name]
    everything, limited, never = (backend.get(path, key, **parameters).json for key in keys)
    if "timeseries" in path:  # intervals without known events are left out
        assert [one for one in never["data"] if one["start"] >= "2026-03-02"] == limited["data"]
    else:
        assert _without_notes(limited) == _without_notes(never)
        assert _without_notes(limited) != _without_notes(everything)
    assert _period(limited) == {
        **_without_notes(_period(limited)),
        "events_since": SINCE,
        "earlier": "excluded",
        "incomplete": True,
    }
    assert "incomplete" not in _period(everything)


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_whole_days_have_the_expired_events_to_the_last_digit(
    backend: Backend, keys: tuple[str, str, str], name: str
) -> None:
    path, parameters = SUMS[name]
    everything, limited = (backend.get(path, key, **parameters).json for key in keys[:2])
    assert _without_notes(limited) == _without_notes(everything)
    if path != "/v1/entities":
        assert (_period(limited)["earlier"], _period(limited)["incomplete"]) == ("sums", False)


def test_pages_of_events_end_with_the_oldest_one_that_is_kept(backend: Backend, keys: tuple[str, str, str]) -> None:
    answer = backend.get("/v1/events", keys[1], limit=1000).json
    assert [one["id"] for one in answer["data"]] == [one["id"] for one in backend.events(keys[2])]
    assert (answer["pagination"]["total"], answer["pagination"]["events_since"]) == (len(KEPT), SINCE)


def test_an_expired_event_is_not_found_by_its_id(backend: Backend, keys: tuple[str, str, str]) -> None:
    def status(one: Event, key: str) -> int:
        return backend.get(f"/v1/events/{one.id}", key).status

    assert [status(EXPIRED[0], key) for key in keys[:2]] == [200, 404]
    assert status(KEPT[0], keys[1]) == 200


def test_a_period_without_anything_that_is_known_is_refused(backend: Backend, keys: tuple[str, str, str]) -> None:
    earlier = {"start_date": "2026-01-01", "end_date": "2026-01-31"}
    answer = backend.get("/v1/sessions", keys[1], **earlier)
    assert (answer.status, answer.json["error"]["code"]) == (400, "beyond_retention")
    part = {"start_date": "2026-01-01T10:00:00Z", "end_date": "2026-01-01T12:00:00Z"}
    assert backend.get("/v1/analytics/costs", keys[1], **part).json["error"]["code"] == "beyond_retention"


def test_a_period_that_begins_within_a_day_has_its_whole_days(backend: Backend, keys: tuple[str, str, str]) -> None:
    part = {**DATES, "start_date": "2026-01-01T00:00:01Z"}
    whole = {**DATES, "start_date": "2026-01-02"}
    partial, expected = (backend.get("/v1/analytics/costs", keys[1], **dates).json for dates in (part, whole))
    assert partial["data"] == expected["data"]
    assert (_period(partial)["earlier"], _period(partial)["incomplete"]) == ("whole_days", True)


def test_every_route_that_reads_is_tested_here(backend: Backend) -> None:
    paths = json.loads(backend.http("/openapi.json", None, {}).body)["paths"]
    tested = {path for path, _ in (*OF_EVENTS.values(), *SUMS.values())}
    others = {"/v1/me", "/v1/events", "/v1/events/{event_id}", "/v1/sessions/{session_id}", "/v1/analytics/forecast"}
    of_events = {path for path in paths if path.startswith(("/v1/analytics", "/v1/events", "/v1/sessions"))}
    assert of_events <= tested | others
    assert tested <= set(paths)


def test_a_statement_without_conditions_sees_only_what_is_kept() -> None:
    seen: list[str | None] = []

    class _Recorded:
        def read(self, sql: str, parameters: object, *, events: str | None = None) -> list[bytes]:
            del sql, parameters
            seen.append(events)
            return []

    RetainedEvents(_Recorded(), "acc_1", 86_400_000).read("SELECT count() FROM events", {})  # type: ignore[arg-type]
    assert seen == ["account = 'acc_1' AND timestamp >= fromUnixTimestamp64Milli(86400000, 'UTC')"]
