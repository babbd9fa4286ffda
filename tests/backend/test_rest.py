"""The REST API: reading, filtering, paging, and errors of invalid parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.kit.backend import Backend, span

from infraprism.schema import Event

NewEvent = Callable[..., Event]
DAY_NS = 86_400 * 10**9
SPECIAL_TEXTS = [
    "' OR 1=1 --",
    "\\",
    "'; DROP TABLE events; --",
    "{account:String}",
    "\t\n\0",
    "`",
    "%27",
    "\u2028",
    "a\\'b",
]


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) * 10**6


def test_v1_me_returns_the_account_of_the_key(backend: Backend) -> None:
    key = backend.add_account(email="a@example.com", name="A", company="Acme", plan="growth")
    account = backend.get("/v1/me", key).json
    assert account["id"].startswith("acc_")
    assert account["created_at"].endswith("Z")
    del account["id"], account["created_at"]
    assert account == {
        "email": "a@example.com",
        "name": "A",
        "company": "Acme",
        "plan": "growth",
        "usage_detail": False,
    }
    assert backend.get("/v1/me").json["email"] is None


@pytest.mark.parametrize("path", ["/v1/me", "/v1/events", "/v1/events/evt_1", "/v1/entities", "/v1/analytics/costs"])
def test_every_path_under_v1_requires_a_key(backend: Backend, path: str) -> None:
    for key in ("", "ip-not-a-key-of-this-server", "x"):
        answer = backend.get(path, key)
        assert (answer.status, answer.json["error"]["code"]) == (401, "unauthenticated")


def test_health_needs_no_key(backend: Backend) -> None:
    assert backend.http("/healthz", None, {}).json["status"] == "ok"


def test_filters_select_events(backend: Backend, new_event: NewEvent, account: str) -> None:
    plain = new_event(timestamp_ns=_ns("2026-03-10T00:00:00"))
    other = new_event(
        timestamp_ns=_ns("2026-03-10T23:59:59.999"),
        model="claude-x",
        provider="anthropic",
        entity_type="team",
        entity_id="eng",
        session_id="s:1",
        tags={"feature": "chat,bot:x", "env": "prod"},
        success=False,
        error_type="timeout",
    )
    late = new_event(timestamp_ns=_ns("2026-03-11T00:00:00"))
    backend.export(*map(span, (plain, other, late)), key=account)

    def ids(**parameters: Any) -> set[str]:
        return {found["id"] for found in backend.events(account, **parameters)}

    every = {plain.id, other.id, late.id}
    assert ids() == every
    for parameters in (
        {"model": "claude-x"},
        {"provider": "anthropic"},
        {"entity_type": "team"},
        {"entity_id": "eng"},
        {"session_id": "s:1"},
        {"success": "false"},
        {"tags": "env:prod"},
        {"tags": r"env:prod,feature:chat\,bot:x"},
        {"tags": ["env:prod", r"feature:chat\,bot:x"]},
        {"start_date": "2026-03-10T10:00:00", "end_date": "2026-03-10"},
        {"start_date": "2026-03-10T23:59:59.999+00:00", "end_date": "2026-03-11T00:59:59.999+01:00"},
    ):
        assert ids(**parameters) == {other.id}, parameters
    assert ids(success="true") == {plain.id, late.id}
    assert ids(start_date="2026-03-10", end_date="2026-03-10") == {plain.id, other.id}
    assert ids(start_date="2026-03-11") == {late.id}
    assert ids(tags="env:staging") == ids(tags="none:") == ids(entity_type="employee") == set()


def test_pages_by_offset(backend: Backend, new_event: NewEvent, account: str) -> None:
    events = [new_event() for _ in range(25)]
    backend.export(*map(span, events), key=account)
    pages = [backend.get("/v1/events", account, limit=10, offset=offset).json for offset in (0, 10, 20, 30)]
    assert [one["id"] for page in pages for one in page["data"]] == [one.id for one in reversed(events)]
    pagination = [page["pagination"] for page in pages]
    assert [(one["total"], one["limit"], one["offset"], one["has_more"]) for one in pagination] == [
        (25, 10, 0, True),
        (25, 10, 10, True),
        (25, 10, 20, False),
        (25, 10, 30, False),
    ]


def test_a_read_by_cursor_stays_stable_while_events_arrive(backend: Backend, new_event: NewEvent, account: str) -> None:
    # All with the same timestamp, so that the time alone does not identify an event.
    first = [new_event(timestamp_ns=_ns("2026-04-01T00:00:00")) for _ in range(30)]
    backend.export(*map(span, first), key=account)
    seen: list[str] = []
    parameters: dict[str, Any] = {"limit": 7}
    while True:
        page = backend.get("/v1/events", account, **parameters).json
        seen += [one["id"] for one in page["data"]]
        assert page["pagination"]["total"] == 30
        newer = [new_event(timestamp_ns=_ns("2026-04-02T00:00:00")) for _ in range(5)]
        backend.export(*map(span, newer), key=account)
        parameters["cursor"] = page["pagination"]["next_cursor"]
        if parameters["cursor"] is None:
            break
    assert len(seen) == 30
    assert set(seen) == {one.id for one in first}


@pytest.mark.parametrize(
    ("path", "parameters", "name"),
    [
        ("/v1/events", {"limit": "0"}, "limit"),
        ("/v1/events", {"limit": "1001"}, "limit"),
        ("/v1/events", {"limit": "x"}, "limit"),
        ("/v1/events", {"offset": "-1"}, "offset"),
        ("/v1/events", {"start_date": "yesterday"}, "start_date"),
        ("/v1/events", {"end_date": "2026-02-30"}, "end_date"),
        ("/v1/events", {"end_date": "9999-12-31T23:59:59-23:00"}, "end_date"),
        ("/v1/events", {"entity_type": "robot"}, "entity_type"),
        ("/v1/events", {"provider": "acme"}, "provider"),
        ("/v1/events", {"success": "maybe"}, "success"),
        ("/v1/events", {"tags": "feature"}, "tags"),
        ("/v1/events", {"tags": "Bad Key:x"}, "tags"),
        ("/v1/events", {"cursor": "x"}, "cursor"),
        ("/v1/events", {"cursor": "WzEsMl0"}, "cursor"),
        ("/v1/events", {"entity": "acme"}, "entity"),
        ("/v1/entities", {"type": "robot"}, "type"),
        ("/v1/analytics/costs", {"group_by": "robot"}, "group_by"),
        ("/v1/analytics/costs", {"group_by": "tags.`x"}, "group_by"),
        ("/v1/analytics/costs", {"start_date": "2026-02-01", "end_date": "2026-01-31"}, "end_date"),
    ],
)
def test_the_error_of_an_invalid_parameter_names_it(
    backend: Backend, path: str, parameters: dict[str, str], name: str
) -> None:
    answer = backend.get(path, **parameters)
    assert answer.status == 400
    assert answer.json["error"]["message"].startswith(f"{name}: ")
    assert answer.json["error"]["code"] in ("invalid_parameter", "unknown_parameter")


def test_a_cursor_is_valid_only_for_its_filters_and_account(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    backend.export(*(span(new_event()) for _ in range(3)), key=account)
    cursor = backend.get("/v1/events", account, limit=1).json["pagination"]["next_cursor"]
    assert backend.get("/v1/events", account, limit=2, cursor=cursor).status == 200
    assert backend.get("/v1/events", account, limit=1, cursor=cursor, model="x").status == 400
    assert backend.get("/v1/events", backend.add_account(), limit=1, cursor=cursor).status == 400


def test_parameters_are_never_interpreted_as_sql(backend: Backend, new_event: NewEvent, account: str) -> None:
    backend.export(span(new_event(), **{"infraprism.tags.a": "x"}), key=account)
    for special in SPECIAL_TEXTS:
        for name in ("entity_id", "model", "session_id"):
            assert backend.events(account, **{name: special}) == [], (name, special)
            answer = backend.get("/v1/analytics/costs", account, **{name: special})
            assert answer.json["summary"]["total_events"] == 0
        assert backend.events(account, tags=f"a:{special.replace(',', '')}") == []
        for name in ("entity_type", "provider", "start_date", "cursor", "tags", "limit", "success", special):
            assert backend.get("/v1/events", account, **{name: special}).status == 400, (name, special)
        for group in (special, f"tags.{special}"):
            assert backend.get("/v1/analytics/costs", account, group_by=group).status == 400
    assert len(backend.events(account)) == 1


def test_special_characters_are_stored_unchanged_and_can_be_filtered_by(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    for text in ("' OR 1=1 --", "\\", "a\\'b", "{x:String}", '"', "\U0001f600"):
        event = new_event(session_id=text, entity_id=text, tags={"t": text})
        backend.export(span(event), key=account)
        for parameters in ({"session_id": text}, {"entity_id": text}, {"tags": "t:" + text.replace(",", "\\,")}):
            (found,) = backend.events(account, **parameters)
            assert (found["id"], found["session_id"], found["tags"]) == (event.id, text, {"t": text})


def test_entities_are_sorted_by_cost_descending_and_count_failed_events(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    backend.export(
        span(new_event(entity_id="cheap")),
        span(new_event(entity_id="expensive", cost_usd=None, cost_status="no_usage")),
        span(new_event(entity_id="expensive", cost_usd=Decimal(7))),
        span(new_event(entity_id="cheap", success=False, error_type="timeout")),
        span(new_event(entity_type="team", entity_id="t", cost_usd=None, cost_status="no_usage")),
        span(new_event(entity_type=None, entity_id=None)),
        key=account,
    )
    page = backend.get("/v1/entities", account, limit=2).json
    assert [
        (one["entity_id"], one["total_events"], one["unpriced_events"], one["failed_events"]) for one in page["data"]
    ] == [("expensive", 2, 1, 0), ("cheap", 2, 0, 1)]
    assert page["pagination"] == {"total": 3, "limit": 2, "offset": 0, "has_more": True}
    (team,) = backend.get("/v1/entities", account, type="team").json["data"]
    assert (team["entity_id"], team["total_cost"]) == ("t", None)
    assert {"first_seen", "last_seen"} <= set(team)


def test_the_schema_of_the_api_is_published(backend: Backend) -> None:
    paths = json.loads(backend.http("/openapi.json", None, {}).body)["paths"]
    assert {"/v1/me", "/v1/events", "/v1/events/{event_id}", "/v1/entities", "/v1/analytics/costs"} <= set(paths)
